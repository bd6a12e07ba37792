import Testing

@testable import Media
@testable import Posix
@testable import Recorder

@Suite("Streams of a real encoder, cut", .serialized, .timeLimit(.minutes(5)))
struct EncodedStreamCutTests {
    private let directory = FilesDirectory()

    private static let picture = "-f lavfi -i testsrc2=size=160x90:rate=25 "
    private static let tone = "-f lavfi -i sine=frequency=440:sample_rate=48000 "

    @Test(
        "each piece decodes without a complaint, all packets are there once, and times go on",
        arguments: [
            picture + tone + "-c:v libx264 -preset veryfast -g 25 -c:a aac",
            picture + tone + "-c:v mpeg2video -g 12 -bf 2 -c:a mp2 -muxrate 3M",
            picture + tone
                + "-c:v libx265 -preset ultrafast -x265-params log-level=0:keyint=25 -c:a ac3",
            picture + "-c:v libx264 -preset veryfast -g 50", tone + "-c:a aac",
        ],
        [false, true]
    )
    func pieces(_ encoding: String, isInterleaved: Bool) throws {
        let made = try encode(encoding)
        let stream = isInterleaved ? interleaved(made) : made
        let (pieces, tables) = try cut(stream)
        try #require(pieces.count >= 3)
        for (number, piece) in pieces.enumerated() {
            let file = try directory.write((number == 0 ? [] : tables[number - 1]) + piece, to: "p")
            let said = try complaints(about: file)
            #expect(said == "", "piece \(number)")
        }
        let joined = Array(pieces.joined())
        #expect(joined.count == stream.count)
        for pid in Set(packets(stream).map(\.pid)) {
            #expect(bytes(of: pid, in: joined) == bytes(of: pid, in: stream), "PID \(pid)")
        }
        if !isInterleaved { #expect(joined == stream) }
    }

    private func encode(_ encoding: String) throws -> [UInt8] {
        let words = "ffmpeg -v error -nostdin -y \(encoding) -threads 1 -t 6 -f mpegts"
        let file = "\(directory.path)/made.ts"
        try #require(try filesRun(words.split(separator: " ").map(String.init) + [file]) == 0)
        return try directory.bytes(of: "made.ts")
    }

    /// Each piece, and the tables for those behind the first; a new piece is due 150 packets after each cut.
    private func cut(_ stream: [UInt8]) throws -> (pieces: [[UInt8]], tables: [[UInt8]]) {
        var (pieces, tables, rest): ([[UInt8]], [[UInt8]], ArraySlice<UInt8>) = (
            [], [], stream[...]
        )
        while !rest.isEmpty {
            let due = min(rest.endIndex, rest.startIndex + 150 * 188)
            var (cutter, piece) = (TransportStreamCutter(), Array(rest[..<due]))
            let progress = cutter.take(rest[due...])
            piece += progress.before
            guard let cut = progress.cut else { return (pieces + [piece + cutter.rest], tables) }
            pieces.append(piece)
            tables.append(cut.tables)
            rest = cut.media[...]
        }
        return (pieces, tables)
    }

    private func packets(_ stream: [UInt8]) -> [TransportPacket] {
        stride(from: 0, to: stream.count, by: 188).map {
            TransportPacket(bytes: stream[$0..<$0 + 188])
        }
    }

    private func bytes(of pid: UInt16, in stream: [UInt8]) -> [UInt8] {
        packets(stream).filter { $0.pid == pid }.flatMap(\.bytes)
    }

    /// As a multiplexer of a broadcaster has it: the sound's packets one by one between those of the pictures.
    private func interleaved(_ stream: [UInt8]) -> [UInt8] {
        var (result, waiting): ([UInt8], [TransportPacket]) = ([], [])
        for packet in packets(stream) {
            if packet.pid == 0x101 {
                waiting.append(packet)
            } else {
                result += packet.bytes
                if !waiting.isEmpty { result += waiting.removeFirst().bytes }
            }
        }
        return result + waiting.flatMap(\.bytes)
    }

    private func complaints(about file: String) throws -> String {
        let command = "ffmpeg -v error -nostdin -i '\(file)' -f null - 2>&1"
        return try filesOutput(["sh", "-c", command])
    }
}
