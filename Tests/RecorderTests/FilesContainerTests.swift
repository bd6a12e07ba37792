import Foundation
import Glibc
import Posix
import Testing

@testable import Media
@testable import Recorder

@Suite("Containers")
struct FilesContainerTests {
    private let directory = FilesDirectory()

    private func completeLength(_ bytes: [UInt8], _ container: MediaContainer) throws -> Int {
        let path = try directory.write(bytes, to: "media")
        return try container.completeLength(of: try FileDescriptor(opening: path, O_RDONLY))
    }

    private static let noise = [UInt8](repeating: 0, count: 100_000)

    @Test(
        "a transport stream is whole up to its last whole packet",
        arguments: [
            ([], 0), (filesPackets(0..<1), 188), (filesPackets(0..<10), 1880),
            (Array(filesPackets(0..<1).dropLast()), 0),
            (Array(filesPackets(0..<2).dropLast()), 188),
            (Array(filesPackets(0..<10).dropLast()), 1692), (filesPackets(0..<10) + [0x47], 1880),
            ([UInt8](repeating: 0x47, count: 300), 188),
            // A power cut leaves zeros where data was not yet on the disk.
            (filesPackets(0..<10) + noise, 1880), (filesPackets(0..<1000) + noise, 188_000),
            // Cut in mid-packet on the way: what follows lies between the multiples of 188.
            (filesPackets(0..<10).dropLast(50) + filesPackets(10..<900), 188 * 900 - 50),
            (filesPackets(0..<10).dropLast(50) + filesPackets(10..<20).dropLast(3), 188 * 19 - 50),
            (noise, 0), ([0] + filesPackets(0..<10), 0), (Array("<html>".utf8) + noise, 0),
        ] as [([UInt8], Int)]
    )
    func transportStream(_ bytes: [UInt8], isWholeUpTo expected: Int) throws {
        #expect(try completeLength(bytes, .mpegTS) == expected)
    }

    private static let head = filesBox("ftyp", [1, 2, 3, 4]) + filesBox("moov", [5])
    private static let fragment = filesBox("moof", [6]) + filesBox("mdat", [7, 8, 9])
    private static let large =
        filesBox("moof") + [0, 0, 0, 1] + Array("mdat".utf8) + [0, 0, 0, 0, 0, 0, 0, 17, 1]

    @Test(
        "a fragmented MP4 is whole up to its last whole fragment",
        arguments: [
            ([], 0), (head, 0), (head + fragment, 41), (head + fragment + fragment, 61),
            (head + fragment + fragment.dropLast(), 41), (head + fragment + filesBox("moof"), 41),
            (head + filesBox("sidx") + fragment + filesBox("mfra"), 49), (head + large, 46),
            (head + fragment + [0, 0, 0, 0] + Array("mdat".utf8) + [1, 2], 41),
            (head + fragment + noise, 41), (head + fragment + [0, 0, 0, 7], 41),
            (head + [0xFF, 0xFF, 0xFF, 0xFF] + Array("mdat".utf8), 0),
            (fragment + head, 0), (filesBox("ftyp") + fragment, 0),
            (filesBox("ftyp") + filesBox("mdat", [1]) + filesBox("moov"), 0),
            (
                head + filesBox("moof") + [0, 0, 0, 1] + Array("mdat".utf8)
                    + [UInt8](repeating: 0xFF, count: 8), 0
            ),
        ] as [([UInt8], Int)]
    )
    func fragmentedMP4(_ bytes: [UInt8], isWholeUpTo expected: Int) throws {
        #expect(try completeLength(bytes, .fragmentedMP4) == expected)
    }

    @Test("what ffmpeg writes is whole to the last byte, and is not the other container's")
    func realMedia() throws {
        for (container, options) in [
            (MediaContainer.mpegTS, ["-f", "mpegts"]),
            (.fragmentedMP4, ["-movflags", "empty_moov+frag_keyframe", "-f", "mp4"]),
        ] {
            let file = "\(directory.path)/real.\(container.rawValue)"
            let source = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x64:d=2"]
            #expect(try filesRun(source + options + [file]) == 0)
            let bytes = try directory.bytes(of: "real.\(container.rawValue)")
            let other = try #require(MediaContainer.allCases.first { $0 != container })
            #expect(try completeLength(Array(bytes), other) == 0)
            let whole = try completeLength(bytes, container)
            // ffmpeg ends an MP4 with an index, `mfra`, that is no media.
            #expect(container == .mpegTS ? whole == bytes.count : bytes.count - whole < 200)
        }
    }

    @Test("UTC times are written with all their digits")
    func utc() {
        let time = UTCTime(filesStart)
        #expect(time.iso8601 == "2026-11-23T10:45:00Z")
        #expect(time.compact == "20261123T104500Z")
        #expect(UTCTime(WallTime(nanoseconds: 0)).iso8601 == "1970-01-01T00:00:00Z")
    }

    @Test("the disk has a size, and not more free than that")
    func diskSpace() throws {
        let space = try DiskSpace(at: directory.path)
        #expect(space.sizeBytes > 0)
        #expect(space.freeBytes <= space.sizeBytes)
        #expect(throws: SystemError.self) { try DiskSpace(at: "/none/such") }
    }
}
