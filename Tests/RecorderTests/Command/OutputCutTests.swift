import Posix
import TestSupport
import Testing

@testable import Media
@testable import Recorder

@Suite("A command's output in two recordings", .timeLimit(.minutes(5)))
struct OutputCutTests {
    private let before = MadePackets.tables + MadePackets.picture
    private let behind = MadePackets.keyframe + MadePackets.picture

    /// What a program delivers that writes `media` in pieces of `length` bytes; the cut, if there is one, is at `place`.
    private func read(
        _ media: [UInt8],
        _ length: Int = 100,
        cutting: Bool
    ) async throws -> (bytes: [UInt8], tables: [UInt8], place: Int?) {
        let directory = FilesDirectory()
        let file = try directory.write(media, to: "media")
        let stop = try StopSignal()
        let arguments = ["dd", "if=\(file)", "bs=\(length)", "status=none"]
        return await onThread {
            var (bytes, tables, place) = ([UInt8](), [UInt8](), Int?.none)
            guard var reader = try? CommandReader(arguments) else { return (bytes, tables, place) }
            while true {
                switch reader.next(until: stop, cutting: cutting && place == nil) {
                case .output(let media): bytes += media
                case .cut(let packets, let media):
                    (tables, place) = (packets, bytes.count)
                    bytes += media
                case .noCutFound, .errorLine: break
                case .ended, .stopped, .failed: return (bytes, tables, place)
                }
            }
        }
    }

    @Test("nothing is held back or searched for before a split is due")
    func notDue() async throws {
        let read = try await read(before + behind, cutting: false)
        #expect(read.bytes == before + behind && read.place == nil)
    }

    @Test(
        "when a split is due, the output is cut before a keyframe, with the tables for the next recording",
        arguments: [1, 100, 9999]
    )
    func due(_ length: Int) async throws {
        let read = try await read(before + behind, length, cutting: true)
        #expect(read.bytes == before + behind, "no byte is lost or doubled")
        #expect(read.place == before.count && read.tables == MadePackets.tables)
    }

    @Test("what cannot be cut is returned to its last byte", arguments: [1, 100, 9999])
    func nowhere(_ length: Int) async throws {
        let media = before + MadePackets.picture + [0x47, 1, 2]
        let read = try await read(media, length, cutting: true)
        #expect(read.bytes == media && read.place == nil)
    }
}
