import Testing

@testable import Ingest

@Suite("Lines of the ingest socket")
struct LineBufferTests {
    /// The lines of what arrives in these pieces, in order; `nil` for one that is too long.
    private func lines(_ pieces: [[UInt8]], toTheEnd: Bool = false) -> [[UInt8]?] {
        var buffer = LineBuffer()
        var lines: [[UInt8]?] = []
        func take(_ line: LineBuffer.Line) {
            switch line {
            case .complete(let range): lines.append(Array(buffer.bytes[range]))
            case .tooLong: lines.append(nil)
            }
        }
        for piece in pieces {
            buffer.append(piece[...])
            while let line = buffer.next() { take(line) }
            buffer.compact()
            #expect(buffer.bytes.count <= LineBuffer.maxLineBytes, "bounded")
        }
        if toTheEnd, let line = buffer.last() { take(line) }
        return lines
    }

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test("are the same however they arrive")
    func pieces() {
        let text = bytes("a\n\nbc\r\n{\"ä\":1}\nrest")
        let expected: [[UInt8]?] = ["a", "", "bc\r", "{\"ä\":1}"].map(bytes)
        #expect(lines([text]) == expected)
        #expect(lines(text.map { [$0] }) == expected)
        for first in text.indices {
            #expect(lines([Array(text[..<first]), Array(text[first...])]) == expected)
        }
        #expect(lines([text], toTheEnd: true) == expected + [bytes("rest")])
    }

    @Test("end with the connection, if anything is left")
    func last() {
        #expect(lines([bytes("a\n")], toTheEnd: true) == [bytes("a")])
        #expect(lines([], toTheEnd: true) == [])
    }

    @Test(
        "may be so long and no longer; the next one is read again",
        arguments: [1, 4096, 100_000]
    )
    func tooLong(pieceSize: Int) {
        let most = LineBuffer.maxLineBytes
        func arrive(_ count: Int) -> [[UInt8]?] {
            let text = [UInt8](repeating: 0x61, count: count) + bytes("\nb\n")
            let starts = stride(from: 0, to: text.count, by: pieceSize)
            return lines(starts.map { Array(text[$0..<min($0 + pieceSize, text.count)]) })
        }
        #expect(arrive(most) == [[UInt8](repeating: 0x61, count: most), bytes("b")])
        #expect(arrive(most + 1) == [nil, bytes("b")])
        #expect(arrive(most * 3) == [nil, bytes("b")])
    }

    @Test("a long one that never ends is told once, and nothing of it is kept")
    func endless() {
        let piece = [UInt8](repeating: 0x61, count: 10_000)
        #expect(lines(Array(repeating: piece, count: 50), toTheEnd: true) == [nil])
    }
}
