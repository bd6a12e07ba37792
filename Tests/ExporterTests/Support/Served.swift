import CommandLine
import Posix

@testable import Exporter
@testable import HTTP

/// An exporter's service without a server.
struct Served: ~Copyable {
    private var service: ExporterService

    init(_ directory: String, _ flags: [String] = []) throws {
        let words = ["--telemetry-dir", directory] + flags
        guard case .run(let values) = try Arguments.table.parse(words, environment: [:]) else {
            throw NoService()
        }
        service = try ExporterService(try Arguments(values), version: "9.8.7", Log())
    }

    /// The response to a request with these fields, each a whole line.
    mutating func ask(
        _ target: String,
        _ fields: [String] = [],
        method: String = "GET"
    ) throws -> Response {
        service.respond(to: try Self.request(target, fields, method: method))
    }

    static func request(
        _ target: String,
        _ fields: [String] = [],
        method: String = "GET"
    ) throws -> Request {
        let lines = ["\(method) \(target) HTTP/1.1", "Host: a"] + fields + ["", ""]
        var parser = RequestParser()
        let bytes = Array(lines.joined(separator: "\r\n").utf8)
        guard case .request(let request, _) = parser.parse(bytes.span, peer: "::1") else {
            throw NoRequest()
        }
        return request
    }

    private struct NoService: Error {}
    private struct NoRequest: Error {}
}

extension Response {
    var text: String { String(decoding: body, as: UTF8.self) }

    func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
}
