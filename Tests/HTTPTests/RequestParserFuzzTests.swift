import Foundation
import TestSupport
import Testing

@testable import HTTP

@Suite("Request parser, any bytes", .timeLimit(.minutes(5)))
struct RequestParserFuzzTests {
    private static let messages = [
        "GET /metrics?a=b%20c HTTP/1.1\r\nHost: [::1]:80\r\nAccept: a;q=0.5, b\r\n\r\nGET",
        "\r\nPOST / HTTP/1.1\r\nHost:\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nabcdeGET",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a=\"b\"\r\nab\r\n0\r\nX: y\r\n\r\nGET",
        "OPTIONS * HTTP/1.0\r\nConnection: Keep-Alive, close\r\n\r\n",
        "GET http://a.example?b HTTP/1.1\r\nhost: a.example\r\nX: a\r\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nX : a\n\r\n",
    ]

    @Test("gives the same result wherever the bytes were split", arguments: messages)
    func split(message: String) {
        let bytes = Array(message.utf8)
        let whole = parse(bytes, splitAt: [], contentLimit: 9)
        #expect(parse(bytes, splitAt: Array(0..<bytes.count), contentLimit: 9) == whole)
        for first in bytes.indices {
            #expect(parse(bytes, splitAt: [first], contentLimit: 9) == whole)
            let second = (first + bytes.count) / 2
            #expect(parse(bytes, splitAt: [first, second], contentLimit: 9) == whole)
        }
    }

    @Test("gives the same result whatever requests came before")
    func history() {
        var random = SeededGenerator(state: 0x5EED)
        var used = RequestParser(contentLimit: 9)
        for _ in 0..<20_000 {
            let bytes = Bool.random(using: &random) ? Self.plain : Self.mutated(&random)
            var fresh = RequestParser(contentLimit: 9)
            let (outcome, expected) = (used.parse(bytes.span), fresh.parse(bytes.span))
            guard "\(outcome)" == "\(expected)" else {
                Issue.record("\(bytes): \(outcome), not \(expected)")
                return
            }
            guard case .request = outcome else {
                used = RequestParser(contentLimit: 9)
                continue
            }
        }
    }

    private static let plain = Array("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\nGET".utf8)

    @Test("what the fuzzer has found gives the same result wherever the bytes were split")
    func corpus() throws {
        let root = URL(fileURLWithPath: #filePath).appendingPathComponent("../../..").standardized
        let directory = root.appendingPathComponent("fuzz/Corpus/Request")
        let files = try FileManager.default.contentsOfDirectory(atPath: directory.path)
        #expect(files.count > 50)
        for file in files {
            let bytes = Array(try Data(contentsOf: directory.appendingPathComponent(file)))
            let whole = parse(bytes, splitAt: [], headLimit: 512, contentLimit: 16)
            for split in bytes.indices {
                let parts = parse(bytes, splitAt: [split], headLimit: 512, contentLimit: 16)
                #expect(parts == whole, "\(file) split at \(split)")
            }
        }
    }

    @Test("never traps, and never depends on the splits")
    func fuzz() {
        var random = SeededGenerator(state: 0x5EED)
        for _ in 0..<200_000 {
            let bytes = Self.mutated(&random)
            let limit = Int.random(in: 1...200, using: &random)
            let whole = parse(bytes, splitAt: [], headLimit: limit, contentLimit: 9)
            let splits = (0..<3).map { _ in Int.random(in: 0...bytes.count, using: &random) }
            let parts = parse(bytes, splitAt: splits.sorted(), headLimit: limit, contentLimit: 9)
            guard parts == whole else {
                Issue.record("\(bytes) split at \(splits): \(parts), not \(whole)")
                return
            }
        }
    }

    @Test("answers whatever is asked of a request that it let through")
    func questions() {
        var random = SeededGenerator(state: 0xA5C)
        for _ in 0..<50_000 {
            var parser = RequestParser(contentLimit: 9)
            let outcome = parser.parse(Self.mutated(&random).span)
            guard case .request(let request, _) = outcome else { continue }
            #expect(!request.target.isEmpty)
            #expect(!request.path.isEmpty)
            _ = (request.query("a"), request.header("accept"), request.headers("host"))
        }
    }

    /// A message with a few bytes changed, removed or doubled, mostly by such as matter.
    private static func mutated(_ random: inout SeededGenerator) -> [UInt8] {
        var bytes = Array(messages[Int.random(in: messages.indices, using: &random)].utf8)
        let telling = Array("\r\n\t :,;?%#/0 1HTTP\0\u{7F}".utf8) + [0x80, 0xFF]
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            let index = Int.random(in: bytes.indices, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes[index] = telling[Int.random(in: telling.indices, using: &random)]
            case 1: bytes[index] = UInt8.random(in: .min ... .max, using: &random)
            case 2: bytes.remove(at: index)
            default: bytes.insert(bytes[index], at: index)
            }
            if bytes.isEmpty { bytes = [0] }
        }
        return bytes
    }
}
