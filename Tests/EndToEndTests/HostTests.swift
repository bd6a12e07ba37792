import Foundation
import Testing

@Suite("By which names the programs can be reached", .timeLimit(.minutes(10)))
struct HostTests {
    private static let browser = ["-H", "Origin: http://evil.example"]
    private let bench: Workbench

    init() throws {
        bench = try Workbench()
    }

    @Test(
        "a browser may use local and allowed names, and a program any",
        arguments: ["exporter", "recorder"]
    )
    func names(_ name: String) throws {
        let flags = ["--web.allowed-host", "dash.example.org", "--web.allowed-host", "b.example"]
        let port =
            name == "exporter"
            ? try bench.startExporter(flags).port : try bench.startRecorder([], flags).port
        let page = name == "exporter" ? "/metrics" : "/api/recording/active"
        for path in ["/health", page] {
            func status(_ host: String, _ options: [String] = Self.browser) throws -> Int {
                let address = "http://127.0.0.1:\(port)\(path)"
                return try get(address, ["-H", "Host: \(host)"] + options).status
            }
            #expect(try status("evil.example") == 403)
            #expect(try status("evil.example:\(port)", ["-H", "Sec-Fetch-Site: none"]) == 403)
            #expect(try status("evil.example", ["-A", "Mozilla/5.0"]) == 403)
            for host in [
                "127.0.0.1", "[::1]:80", "localhost:\(port)", "dash.example.org", "b.example",
            ] {
                #expect(try status(host) == 200, "\(host)")
            }
            #expect(try status("evil.example", []) == 200)
            #expect(try status("evil.example", ["-A", "Prometheus/3.1.0"]) == 200)
        }
    }

    @Test("the recorder has the setting in its file, too, and reports a name that is none")
    func setting() throws {
        let text = try String(contentsOfFile: bench.configure([]), encoding: .utf8)
        let file = bench.path("hosts.json5")
        func check(_ names: String, _ flags: [String] = []) throws -> (
            status: Int32, output: String
        ) {
            try text.replacing("web: {", with: "web: {allowed_hosts: \(names), ")
                .write(toFile: file, atomically: true, encoding: .utf8)
            return try bench.run(
                "streamvault-recorder",
                ["--config", file, "--check-config"] + flags
            )
        }
        #expect(try check("'dash.example.org'").status == 0)
        let wrong = try check("['a', 'https://a']")
        #expect(wrong.status == 78)
        #expect(wrong.output.contains("web.allowed_hosts: \"https://a\" is not a host name"))
        let flag = try check("'a'", ["--web.allowed-host", "a:80"])
        #expect(flag.output.contains("--web.allowed-host: \"a:80\" is not a host name"))
        let exporter = try bench.run("streamvault-exporter", ["--web.allowed-host", "a:80"])
        #expect(exporter.status == 64)
        #expect(exporter.output.contains("--web.allowed-host: \"a:80\" is not a host name"))
    }

    @Test("[::] is both families, and IPv6 alone beside 0.0.0.0")
    func families() throws {
        let listen = "--web.listen-address"
        let both = try bench.start("streamvault-exporter", [listen, "[::]:0"])
        let port = try bench.listeningPort(of: both)
        for host in ["127.0.0.1", "[::1]"] {
            #expect(try get("http://\(host):\(port)/-/healthy", ["-g"]).status == 200)
        }
        #expect(try both.stop() == 0)
        let each = try bench.start(
            "streamvault-exporter",
            [listen, "0.0.0.0:\(port)", listen, "[::]:\(port)"]
        )
        _ = try each.line(containing: "Exporter started")
        for host in ["127.0.0.1", "[::1]"] {
            #expect(try get("http://\(host):\(port)/-/healthy", ["-g"]).status == 200)
        }
        for program in ["streamvault-exporter", "streamvault-recorder"] {
            let help = try bench.run(program, ["--help"]).output
            #expect(help.contains("[::]:"), "\(program)")
        }
    }
}
