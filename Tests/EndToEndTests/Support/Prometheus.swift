import Foundation

/// A real Prometheus that scrapes once a second.
struct Prometheus {
    let program: Program
    let port: Int

    /// Values of an instant query, by the labels that tell the series apart.
    func query(_ expression: String) throws -> [[String: String]: Double] {
        let escaped = expression.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
        let body = try get("http://127.0.0.1:\(port)/api/v1/query?query=\(escaped)").body
        let answer = try JSONDecoder().decode(Answer.self, from: Data(body.utf8))
        return Dictionary(
            uniqueKeysWithValues: answer.data.result.map { ($0.metric, $0.number) }
        )
    }

    /// The one value of an instant query; `nil` when there is none.
    func value(_ expression: String) throws -> Double? { try query(expression).values.first }

    private struct Answer: Decodable {
        let data: Result
    }

    private struct Result: Decodable {
        let result: [Series]
    }

    private struct Series: Decodable {
        let metric: [String: String]
        let number: Double

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Keys.self)
            metric = try container.decode([String: String].self, forKey: .metric)
            var pair = try container.nestedUnkeyedContainer(forKey: .value)
            _ = try pair.decode(Double.self)
            number = Double(try pair.decode(String.self)) ?? .nan
        }

        private enum Keys: CodingKey { case metric, value }
    }
}

extension Workbench {
    func startPrometheus(scraping exporters: Exporter...) throws -> Prometheus {
        try startPrometheus(scraping: exporters)
    }

    func startPrometheus(
        scraping exporters: [Exporter],
        _ flags: [String] = []
    ) throws -> Prometheus {
        let targets = exporters.map { "\"127.0.0.1:\($0.port)\"" }.joined(separator: ", ")
        let config = """
            global: {scrape_interval: 1s}
            scrape_configs:
              - job_name: streamvault
                static_configs: [{targets: [\(targets)]}]
            """
        try config.write(toFile: path("prometheus.yml"), atomically: true, encoding: .utf8)
        let port = try freePort()
        let program = try start(
            "prometheus",
            [
                "--config.file=\(path("prometheus.yml"))", "--storage.tsdb.path=\(path("tsdb"))",
                "--web.listen-address=127.0.0.1:\(port)",
            ] + flags
        )
        let prometheus = Prometheus(program: program, port: port)
        try eventually("a scrape of each exporter", within: 30) {
            try? prometheus.query("up == 1").count == exporters.count ? () : nil
        }
        return prometheus
    }

    /// A port that nobody listens on now.
    private func freePort() throws -> Int {
        let code =
            "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"
        let output = try run("python3", ["-c", code]).output
        return Int(output.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0
    }
}
