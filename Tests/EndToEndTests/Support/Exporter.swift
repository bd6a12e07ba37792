import Foundation

/// An exporter on loopback.
struct Exporter {
    let program: Program
    let port: Int

    /// What it shows now, by series as written, such as `name{label="value"}`.
    func metrics() throws -> [String: Double] {
        let page = try get("http://127.0.0.1:\(port)/metrics").body
        let samples = page.split(separator: "\n").filter { !$0.hasPrefix("#") }
        return Dictionary(
            uniqueKeysWithValues: samples.map { line in
                let parts = line.split(separator: " ")
                return (String(parts[0]), Double(parts[1]) ?? .nan)
            }
        )
    }

    /// Scrapes once, like a Prometheus server.
    func scrape() throws {
        let timeout = ["-H", "X-Prometheus-Scrape-Timeout-Seconds: 10"]
        _ = try get("http://127.0.0.1:\(port)/metrics", timeout)
    }

    /// Its log line at the exit: the reason, and the numbers of scrapers with and without the final state.
    func verdict() throws -> String {
        let line = try program.line(containing: "msg=Exiting")
        return line.components(separatedBy: "msg=Exiting ")[1]
            .components(separatedBy: " waited=")[0]
    }

    func health() throws -> (status: Int, body: String) {
        try get("http://127.0.0.1:\(port)/health")
    }
}

extension Workbench {
    var telemetryDirectory: String { path("telemetry") }

    /// An exporter that exits at the first signal, unless `flags` say otherwise.
    func startExporter(
        port: Int = 0,
        _ flags: [String] = ["--linger.max", "0s"]
    ) throws -> Exporter {
        _ = try makeDirectory("telemetry")
        let program = try start(
            "streamvault-exporter",
            ["--telemetry-dir", telemetryDirectory, "--web.listen-address", "127.0.0.1:\(port)"]
                + flags
        )
        return Exporter(program: program, port: try listeningPort(of: program))
    }

    /// The port that a program of this package says it listens on.
    func listeningPort(of program: Program) throws -> Int {
        let line = try program.line(containing: "listen=")
        let address = line.split(separator: " ").first { $0.hasPrefix("listen=") } ?? ""
        guard let port = address.split(separator: ":").last.flatMap({ Int($0) }) else {
            throw TimedOut(description: "no port in \(line)")
        }
        return port
    }
}

/// Asks a server; the answer whatever its status, with its head among the body if curl's `options` say so.
func get(_ address: String, _ options: [String] = []) throws -> (status: Int, body: String) {
    let curl = Process()
    let output = Pipe()
    curl.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    curl.arguments =
        ["curl", "-s", "--max-time", "10", "-w", "\n%{http_code}", address] + options
    curl.standardOutput = output
    try curl.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    curl.waitUntilExit()
    let text = String(decoding: data, as: UTF8.self)
    let end = text.lastIndex(of: "\n") ?? text.startIndex
    return (
        Int(text[end...].trimmingCharacters(in: .whitespaces.union(.newlines))) ?? 0,
        String(text[..<end])
    )
}
