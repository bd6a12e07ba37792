import Foundation
import Glibc
import Posix
import Testing

@testable import Media
@testable import Recorder

@Suite("Part files")
struct FilesPartFileTests {
    private let directory = FilesDirectory()

    private func append(_ bytes: [UInt8], to part: inout PartFile) throws {
        try part.append(bytes.span)
    }

    @Test("a recording is a part file first, and then has its final name")
    func lifecycle() throws {
        var part = try filesPart(in: directory.path)
        #expect(try directory.entries == ["\(filesStem).ts.part"])
        try append(filesPackets(0..<3), to: &part)
        try append(filesPackets(3..<5) + [0x47, 1], to: &part)
        #expect(part.bytesWritten == 5 * 188 + 2)
        let path = "\(directory.path)/\(filesStem).ts"
        #expect(try part.finish() == .published(path: path, bytes: 940, truncatedBytes: 2))
        #expect(try directory.entries == ["\(filesStem).ts"])
        #expect(try directory.bytes(of: "\(filesStem).ts") == filesPackets(0..<5))
    }

    @Test("a recording without media leaves no file")
    func empty() throws {
        let part = try filesPart(in: directory.path)
        #expect(try part.finish() == .empty)
        #expect(try directory.entries == [])
    }

    @Test("a recording that is dropped leaves its part file")
    func dropped() throws {
        do {
            var part = try filesPart(in: directory.path)
            try append(filesPackets(0..<2), to: &part)
        }
        #expect(try directory.bytes(of: "\(filesStem).ts.part") == filesPackets(0..<2))
    }

    @Test("media is synced when the interval has passed, and not before")
    func syncInterval() throws {
        let start = BootTime(nanoseconds: 1_000_000_000_000)
        var part = try filesPart(in: directory.path, syncInterval: .seconds(5), now: start)
        try append(filesPackets(0..<1), to: &part)
        try part.synchronizeIfDue(now: start.advanced(by: .milliseconds(4999)))
        #expect(part.bytesSynced == 0)
        try part.synchronizeIfDue(now: start.advanced(by: .seconds(5)))
        #expect(part.bytesSynced == 188)
        try append(filesPackets(1..<2), to: &part)
        try part.synchronizeIfDue(now: start.advanced(by: .seconds(6)))
        #expect(part.bytesSynced == 188)
        try part.synchronizeIfDue(now: start.advanced(by: .seconds(10)))
        #expect(part.bytesSynced == 376)
    }

    @Test("two recordings of one second have different names")
    func sameSecond() throws {
        var first = try filesPart(in: directory.path)
        let second = try filesPart(in: directory.path)
        #expect(second.name.stem == "\(filesStem)-2")
        try append(filesPackets(0..<1), to: &first)
        _ = try first.finish()
        let third = try filesPart(in: directory.path)
        #expect(third.name.stem == "\(filesStem)-3")
    }

    @Test("a finished file is never replaced")
    func nameTaken() throws {
        var part = try filesPart(in: directory.path)
        try append(filesPackets(0..<1), to: &part)
        try directory.write("precious", to: "\(filesStem).ts")
        let path = "\(directory.path)/\(filesStem)-2.ts"
        #expect(try part.finish() == .published(path: path, bytes: 188, truncatedBytes: 0))
        #expect(try directory.bytes(of: "\(filesStem).ts") == Array("precious".utf8))
        #expect(try directory.entries == ["\(filesStem)-2.ts", "\(filesStem).ts"])
    }

    @Test("what is no media is refused, and kept")
    func invalidMedia() throws {
        var part = try filesPart(in: directory.path)
        try append(Array("<html>not found</html>".utf8), to: &part)
        let error = try filesError(finishing: part)
        #expect(error.reason == .invalidMedia)
        #expect(try directory.entries == ["\(filesStem).ts.part"])
    }

    @Test("a fragmented MP4 ends behind its last whole fragment")
    func fragmentedMP4() throws {
        var part = try filesPart(in: directory.path, container: .fragmentedMP4)
        let whole = filesBox("ftyp") + filesBox("moov") + filesBox("moof") + filesBox("mdat", [1])
        try append(whole + filesBox("moof").dropLast(), to: &part)
        let path = "\(directory.path)/\(filesStem).mp4"
        #expect(try part.finish() == .published(path: path, bytes: whole.count, truncatedBytes: 7))
    }

    @Test(
        "the reason of a failure is one of the closed set",
        arguments: [
            (ENOSPC, .noSpace), (EDQUOT, .noSpace), (EACCES, .permission), (EPERM, .permission),
            (EROFS, .permission), (EWOULDBLOCK, .fileLocked), (EBUSY, .fileLocked), (EIO, .io),
            (ETIMEDOUT, .timeout), (ENOENT, .other), (EMFILE, .other),
        ] as [(CInt, FinalizeError.Reason)]
    )
    func reason(of code: CInt, is expected: FinalizeError.Reason) {
        #expect(FinalizeError(SystemError(call: "call", code: code)).reason == expected)
    }

    @Test("the words of the log line")
    func words() {
        #expect("\(FinalizeError(.fileLocked, detail: ""))" == "file locked")
        #expect("\(FinalizeError(.noSpace, detail: ""))" == "no space left")
        let labels = FinalizeError.Reason.allCases.map(\.rawValue).joined(separator: " ")
        #expect(labels == "timeout file_locked no_space permission io invalid_media other")
    }
}
