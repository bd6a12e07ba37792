import Foundation
import Posix
import Testing

@testable import HTTP

/// The clients that people use, against a real server.
@Suite("Real clients", .timeLimit(.minutes(5)))
struct RealClientTests {
    private static let curl = "curl --silent --show-error --max-time 20"

    @Test(
        "curl",
        arguments: [
            ("URL/a/../b%20c", "GET /a/../b c\n"),
            ("URL/1 URL/2 --write-out %{num_connects}", "GET /1\n1GET /2\n0"),
            ("--head URL/ --write-out %{size_download} --output /dev/null", "0"),
            ("--http1.0 URL/", "GET /\n"),
            ("--proxy URL http://a.example/b?c", "GET /b\n"),
            ("--request-target * -X OPTIONS URL", "OPTIONS *\n"),
            ("--data abc URL/", "POST / abc\n"),
            ("--data abc --header Expect:100-continue URL/", "POST / abc\n"),
            ("--data-binary @/dev/null URL/", "POST /\n"),
            ("--header Transfer-Encoding:chunked --data abc URL/ URL/", "POST / abc\nPOST / abc\n"),
            ("--header Transfer-Encoding:chunked --data-binary @/dev/null -X GET URL/", "GET /\n"),
        ]
    )
    func curl(arguments: String, output: String) throws {
        let (found, _) = try run("\(Self.curl) --path-as-is \(arguments)")
        #expect(found == output)
    }

    @Test(
        "curl, refused",
        arguments: [
            ("--header Host: URL/", "400"),
            ("--header Transfer-Encoding:chunked --data 1234567890 URL/", "413"),
            ("--data 1234567890 URL/", "413"), ("--header Expect:tea URL/", "417"),
        ]
    )
    func refused(arguments: String, status: String) throws {
        let command = "\(Self.curl) --output /dev/null --write-out %{http_code} \(arguments)"
        #expect(try run(command).output == status)
    }

    @Test("Python's http.client, several requests on one connection")
    func python() throws {
        let script = """
            import http.client, sys
            client = http.client.HTTPConnection(sys.argv[1], timeout=20)
            for method, body in [("GET", None), ("HEAD", None), ("POST", b"abc"), ("GET", None)]:
                client.request(method, "/a", body)
                response = client.getresponse()
                print(response.status, response.getheader("Content-Length"), response.read())
            """
        let expected =
            "200 7 b'GET /a\\n'\n200 8 b''\n200 12 b'POST /a abc\\n'\n200 7 b'GET /a\\n'\n"
        let (output, accepted) = try run("python3 -c SCRIPT HOST", script: script)
        #expect(output == expected)
        #expect(accepted == 1)
    }

    /// Serves until a command has ended; in it URL and HOST stand for the server, SCRIPT for `script`.
    private func run(
        _ command: String,
        script: String = ""
    ) throws -> (output: String, accepted: UInt64) {
        var limits = Limits()
        limits.contentBytes = 9
        let served = try Served(limits: limits, handle: Self.echo)
        let host = served.server.addresses[0].description
        let words = command.split(separator: " ").map(String.init).map {
            $0.replacing("URL", with: "http://\(host)").replacing("HOST", with: host)
                .replacing("SCRIPT", with: script)
        }
        let output = try served.output(of: words)
        return (output, served.server.counters.accepted)
    }

    private static func echo(_ request: Request) -> Response {
        let words = [
            request.method.rawValue, request.path, String(decoding: request.body, as: UTF8.self),
        ]
        return .text(.ok, words.filter { !$0.isEmpty }.joined(separator: " "))
    }
}

extension Served {
    /// Serves until the command closes its standard output.
    fileprivate func output(of words: [String]) throws -> String {
        let process = Process()
        let pipe = Foundation.Pipe()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = words
        process.standardOutput = pipe
        try process.run()
        let descriptor = pipe.fileHandleForReading.fileDescriptor
        var output = Data()
        while true {
            guard try watch(descriptor) else { continue }
            let part = pipe.fileHandleForReading.availableData
            if part.isEmpty { break }
            output += part
        }
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return String(decoding: output, as: UTF8.self)
    }
}
