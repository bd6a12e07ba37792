import TestSupport
import Testing

@testable import WebSocket

/// What a reader makes of bytes, all of them: the events, and the close they end in.
struct WebSocketReading: Equatable {
    var events: [WebSocketReader.Event] = []
    var close: WebSocketClose?

    /// `splits` say where the bytes arrive in pieces.
    init(_ bytes: [UInt8], splitAt splits: [Int] = [], limit: Int = 1000) {
        var reader = WebSocketReader(limit: limit)
        var start = 0
        for end in splits + [bytes.count] {
            reader.append(bytes[start..<end])
            start = end
            do throws(WebSocketClose) {
                while let event = try reader.next() { events.append(event) }
            } catch {
                close = error
                return
            }
        }
    }
}

/// A client's frame; `first` and `second` are its first two bytes, without the mask bit.
func maskedFrame(
    _ first: UInt8,
    _ payload: [UInt8] = [],
    length: [UInt8]? = nil,
    mask: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]
) -> [UInt8] {
    var header = [first]
    switch payload.count {
    case _ where length != nil: header += length ?? []
    case ...125: header.append(UInt8(payload.count))
    default: header += [126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
    }
    header[1] |= 0x80
    return header + mask + payload.enumerated().map { $1 ^ mask[$0 % 4] }
}

@Suite("WebSocket frames")
struct WebSocketReaderTests {
    @Test(
        "the examples of RFC 6455 §5.7 that a client sends",
        arguments: [
            // A single-frame masked text message.
            (
                [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58],
                .text("Hello")
            ),
            // A masked Pong, the answer to a Ping of "Hello".
            (
                [0x8A, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58],
                .pong(Array("Hello".utf8))
            ),
        ] as [([UInt8], WebSocketReader.Event)]
    )
    func examples(_ bytes: [UInt8], _ event: WebSocketReader.Event) {
        #expect(WebSocketReading(bytes).events == [event])
    }

    @Test("the examples of RFC 6455 §5.7 that a server sends")
    func serverExamples() {
        let hello = Array("Hello".utf8)
        #expect(WebSocketFrame.encode(.text, hello) == [0x81, 0x05] + hello)
        #expect(WebSocketFrame.encode(.ping, hello) == [0x89, 0x05] + hello)
        let medium = [UInt8](repeating: 7, count: 256)
        #expect(WebSocketFrame.encode(.binary, medium) == [0x82, 0x7E, 0x01, 0x00] + medium)
        let long = [UInt8](repeating: 7, count: 65_536)
        let header: [UInt8] = [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]
        #expect(WebSocketFrame.encode(.binary, long) == header + long)
    }

    @Test("fragments are assembled, with control frames between them")
    func fragments() {
        let bytes =
            maskedFrame(0x01, Array("Hel".utf8)) + maskedFrame(0x89, [1, 2])
            + maskedFrame(0x00) + maskedFrame(0x8A) + maskedFrame(0x80, Array("lo".utf8))
            + maskedFrame(0x02, [9]) + maskedFrame(0x80, [8])
        let reading = WebSocketReading(bytes)
        #expect(reading.events == [.ping([1, 2]), .pong([]), .text("Hello"), .binary([9, 8])])
        #expect(reading.close == nil)
    }

    @Test("a character may be split between two fragments")
    func splitLetter() {
        let letter = Array("€".utf8)
        let bytes = maskedFrame(0x01, [letter[0]]) + maskedFrame(0x80, Array(letter[1...]))
        #expect(WebSocketReading(bytes).events == [.text("€")])
    }

    @Test(
        "a protocol violation ends the connection with its close code",
        arguments: [
            ("a reserved bit", maskedFrame(0xC1), 1002),
            ("a reserved opcode", maskedFrame(0x83), 1002),
            ("a reserved control opcode", maskedFrame(0x8B), 1002),
            ("no mask", [0x81, 0x05] + Array("Hello".utf8), 1002),
            ("a fragmented control frame", maskedFrame(0x09), 1002),
            ("a long control frame", maskedFrame(0x89, .init(repeating: 0, count: 126)), 1002),
            ("a continuation of nothing", maskedFrame(0x80), 1002),
            ("a message within a message", maskedFrame(0x01) + maskedFrame(0x81), 1002),
            ("16 bits for a short length", maskedFrame(0x82, [], length: [126, 0, 125]), 1002),
            (
                "64 bits for a short length",
                maskedFrame(0x82, [], length: [127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]), 1002
            ),
            (
                "a length with the highest bit",
                maskedFrame(0x82, [], length: [127, 0x80, 0, 0, 0, 0, 0, 0, 0]), 1002
            ),
            ("text that is not UTF-8", maskedFrame(0x81, [0xC3, 0x28]), 1007),
            ("a surrogate in text", maskedFrame(0x81, [0xED, 0xA0, 0x80]), 1007),
            (
                "fragments that are not UTF-8 together",
                maskedFrame(0x01, [0xE2]) + maskedFrame(0x80, [0x28]), 1007
            ),
            ("a frame that is too large", maskedFrame(0x82, [], length: [126, 0x03, 0xE9]), 1009),
            (
                "a frame of exabytes",
                maskedFrame(0x82, [], length: [127, 0x7F, 255, 255, 255, 255, 255, 255, 255]), 1009
            ),
            (
                "fragments that are too large together",
                maskedFrame(0x02, .init(repeating: 0, count: 600))
                    + maskedFrame(0x80, .init(repeating: 0, count: 401)), 1009
            ),
            ("a close code of one byte", maskedFrame(0x88, [3]), 1002),
            ("a close code that must not be sent", maskedFrame(0x88, [0x03, 0xED]), 1002),
            ("a close code below 1000", maskedFrame(0x88, [0x03, 0xE7]), 1002),
            ("a close code above 4999", maskedFrame(0x88, [0x13, 0x88]), 1002),
            ("a close reason that is not UTF-8", maskedFrame(0x88, [0x03, 0xE8, 0xFF]), 1007),
        ] as [(String, [UInt8], UInt16)]
    )
    func violations(_ what: String, _ bytes: [UInt8], _ code: UInt16) {
        let reading = WebSocketReading(bytes)
        #expect(reading.close?.code == code)
        #expect(reading.events.isEmpty)
        #expect((reading.close?.payload.count ?? 0) <= 125)
    }

    @Test("messages up to the limit are accepted")
    func limits() {
        let most = [UInt8](repeating: 65, count: 1000)
        let text = WebSocketReading(maskedFrame(0x81, most)).events
        #expect(text == [.text(String(repeating: "A", count: 1000))])
        let ping = [UInt8](repeating: 0, count: 125)
        #expect(WebSocketReading(maskedFrame(0x89, ping), limit: 10).events == [.ping(ping)])
        let parts = maskedFrame(0x02, most) + maskedFrame(0x89, ping) + maskedFrame(0x80)
        #expect(WebSocketReading(parts).events == [.ping(ping), .binary(most)])
    }

    @Test(
        "a Close is read with or without a code and reason",
        arguments: [
            ([], nil), ([0x03, 0xE9], WebSocketClose(code: 1001, reason: "")),
            ([0x0F, 0xA0] + Array("bye".utf8), WebSocketClose(code: 4000, reason: "bye")),
        ] as [([UInt8], WebSocketClose?)]
    )
    func close(_ payload: [UInt8], _ close: WebSocketClose?) {
        #expect(WebSocketReading(maskedFrame(0x88, payload)).events == [.close(close)])
    }
}

@Suite("WebSocket frames of random bytes", .timeLimit(.minutes(5)))
struct WebSocketReaderFuzzTests {
    private static let seeds: [[UInt8]] = [
        maskedFrame(0x01, Array("Hel".utf8)) + maskedFrame(0x89, [1]) + maskedFrame(0x80, [108]),
        maskedFrame(0x82, .init(repeating: 3, count: 130)) + maskedFrame(0x88, [0x03, 0xE8, 65]),
        maskedFrame(0x81, Array("€uro".utf8)) + maskedFrame(0x8A) + maskedFrame(0x02, [1]),
        maskedFrame(0x82, [], length: [127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ]

    @Test(
        "reading never traps, never exceeds its limit, and does not depend on where the bytes were split"
    )
    func fuzz() {
        var random = SeededGenerator(state: 0x5EED)
        for _ in 0..<40_000 {
            let bytes = Self.mutated(&random)
            let limit = Int.random(in: 0...300, using: &random)
            let whole = WebSocketReading(bytes, limit: limit)
            let splits = (0..<3).map { _ in Int.random(in: 0...bytes.count, using: &random) }
            let parts = WebSocketReading(bytes, splitAt: splits.sorted(), limit: limit)
            guard parts == whole else {
                Issue.record("\(bytes) split at \(splits): \(parts), not \(whole)")
                return
            }
            let isBounded = whole.events.allSatisfy { event in
                switch event {
                case .text(let text): text.utf8.count <= limit
                case .binary(let bytes): bytes.count <= limit
                case .ping(let bytes), .pong(let bytes): bytes.count <= 125
                case .close(let close): (close?.reason.utf8.count ?? 0) <= 123
                }
            }
            guard isBounded else {
                Issue.record("\(bytes) exceeds \(limit): \(whole)")
                return
            }
        }
    }

    private static func mutated(_ random: inout SeededGenerator) -> [UInt8] {
        var bytes = seeds[Int.random(in: seeds.indices, using: &random)]
        let telling: [UInt8] = [0, 0x7F, 0x80, 0x81, 0x88, 0xFE, 0xFF, 0xC1]
        for _ in 0..<Int.random(in: 0...4, using: &random) where !bytes.isEmpty {
            let index = Int.random(in: bytes.indices, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes[index] = telling[Int.random(in: telling.indices, using: &random)]
            case 1: bytes[index] = UInt8.random(in: .min ... .max, using: &random)
            case 2: bytes.remove(at: index)
            default: bytes.insert(bytes[index], at: index)
            }
        }
        return bytes
    }
}
