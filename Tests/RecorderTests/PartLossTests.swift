import Foundation
import Glibc
import Posix
import StreamVaultTelemetry
import Testing

@testable import Catalogue
@testable import Media
@testable import Recorder

@Suite("A file that somebody takes away while it is recorded", .timeLimit(.minutes(5)))
struct PartLossTests {
    /// What can be done to the part at a path.
    enum Loss: CaseIterable {
        case removed, renamed, replaced, linked, directoryRenamed, directoryReplaced

        func happen(to path: String, in directory: String) throws {
            switch self {
            case .removed: unlink(path)
            case .renamed: rename(path, path + ".mine")
            case .replaced:
                unlink(path)
                try Data("mine".utf8).write(to: URL(fileURLWithPath: path))
            case .linked:
                rename(path, path + ".mine")
                symlink(path + ".mine", path)
            case .directoryRenamed: rename(directory, directory + ".away")
            case .directoryReplaced:
                rename(directory, directory + ".away")
                mkdir(directory, 0o755)
            }
        }
    }

    private func makeRecording(_ container: MediaContainer) throws -> (APIBench, Recording) {
        let bench = try APIBench([.silence("cam")])
        let stream = bench.registry.workers[0].stream
        return (bench, try Recording(stream, container, bench.context, continuing: nil))
    }

    @Test(
        "what follows is in a file of its own, and what stands at the name is not touched",
        arguments: Loss.allCases
    )
    func loss(_ loss: Loss) throws {
        let (bench, recording) = try makeRecording(.mpegTS)
        let directory = bench.files.path
        defer { try? FileManager.default.removeItem(atPath: directory + ".away") }
        try recording.append(filesPackets(0..<4).span)
        let first = recording.status.filePath
        recording.watch.check()
        #expect(!recording.watch.isLost)
        try loss.happen(to: first, in: directory)
        recording.watch.check()
        #expect(recording.watch.isLost)
        try recording.append(filesPackets(4..<8).span)
        #expect(recording.status.filePath != first)
        #expect(recording.finish(.completed) == nil)
        #expect(
            try Data(contentsOf: URL(fileURLWithPath: recording.status.filePath))
                == Data(filesPackets(4..<8))
        )
        if loss == .replaced {
            #expect(try Data(contentsOf: URL(fileURLWithPath: first)) == Data("mine".utf8))
        }
        try bench.context.journal.close(until: BootTime.now().advanced(by: .seconds(30)))
    }

    @Test("each is counted and logged, and its row has failed")
    func reported() throws {
        let (bench, recording) = try makeRecording(.mpegTS)
        try recording.append(filesPackets(0..<4).span)
        unlink(recording.status.filePath)
        recording.watch.check()
        #expect(try bench.word("streamvault_recording_lost_parts_total") == 0)
        try recording.append(filesPackets(4..<8).span)
        #expect(try bench.word("streamvault_recording_lost_parts_total") == 1)
        #expect(try bench.logged().contains("Recording's file was removed or replaced"))
        let path = recording.status.filePath
        let line = "Recording continues in a new file\" stream=cam path=\(path)"
        #expect(try bench.logged().contains(line))
        _ = recording.finish(.completed)
        try waitFor("the catalogue") {
            try bench.context.catalogue.all().first?.status == .completed
        }
        #expect(try bench.context.catalogue.all()[0].parts.map(\.status) == [.failed, .finished])
        try bench.close()
    }

    @Test("fragments get their header again")
    func fragments() throws {
        let (bench, recording) = try makeRecording(.fragmentedMP4)
        let header = filesBox("ftyp") + filesBox("moov")
        let fragment = filesBox("moof") + filesBox("mdat", [1, 2, 3])
        try recording.append(header.span)
        try recording.append(fragment.span)
        for _ in 0..<2 {
            unlink(recording.status.filePath)
            recording.watch.check()
            try recording.append(fragment.span)
        }
        #expect(recording.finish(.completed) == nil)
        let kept = try Data(contentsOf: URL(fileURLWithPath: recording.status.filePath))
        #expect(kept == Data(header + fragment))
        try bench.close()
    }

    @Test("fragments whose header is not known end the recording, which begins anew")
    func unknownHeader() throws {
        let (bench, recording) = try makeRecording(.fragmentedMP4)
        try recording.append(filesBox("ftyp").span)
        try recording.append(filesBox("moov").span)
        unlink(recording.status.filePath)
        recording.watch.check()
        let error = #expect(throws: SystemError.self) {
            try recording.append(filesBox("moof").span)
        }
        #expect(error?.code == ESTALE)
        try bench.close()
    }

    @Test("a file begins with a packet, wherever the pipe was read", arguments: [0, 1, 100, 187])
    func alignment(_ offset: Int) throws {
        let (bench, recording) = try makeRecording(.mpegTS)
        let media = filesPackets(0..<20)
        let (before, after) = (Array(media[..<(1880 + offset)]), Array(media[(1880 + offset)...]))
        try recording.append(before.span)
        unlink(recording.status.filePath)
        recording.watch.check()
        try recording.append(after.span)
        #expect(recording.finish(.completed) == nil)
        let kept = try Data(contentsOf: URL(fileURLWithPath: recording.status.filePath))
        #expect(kept == Data(media[(offset == 0 ? 1880 : 2068)...]))
        try bench.close()
    }

    @Test("a part that is finished while somebody looks is not lost, nor is the next")
    func races() throws {
        let (bench, recording) = try makeRecording(.mpegTS)
        for number in 0..<20 {
            try recording.append(filesPackets(number..<(number + 4)).span)
            let watch = recording.watch
            let looker = Thread { for _ in 0..<200 { watch.check() } }
            looker.start()
            try recording.beginPart(.mpegTS)
        }
        try recording.append(filesPackets(0..<4).span)
        #expect(recording.finish(.completed) == nil)
        #expect(try bench.word("streamvault_recording_lost_parts_total") == 0)
        #expect(try bench.files.entries.filter { $0.hasSuffix(".ts") }.count == 21)
        try bench.close()
    }

    @Test(
        "what takes the name just before the end is not published, and not removed",
        arguments: [0, 4]
    )
    func replacedAtTheEnd(_ packets: Int) throws {
        let (bench, recording) = try makeRecording(.mpegTS)
        if packets > 0 { try recording.append(filesPackets(0..<packets).span) }
        let path = recording.status.filePath
        try Loss.replaced.happen(to: path, in: bench.files.path)
        _ = recording.finish(.completed)
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data("mine".utf8))
        #expect(try bench.files.entries.allSatisfy { !$0.hasSuffix(".ts") })
        try bench.close()
    }

    @Test("a symbolic link at the final name is another file: the part is not lost for it")
    func plantedLink() throws {
        let directory = FilesDirectory()
        var part = try filesPart(in: directory.path)
        try part.append(filesPackets(0..<4).span)
        symlink("\(filesStem).ts.part", "\(directory.path)/\(filesStem).ts")
        let name = part.name
        #expect(
            try part.finish()
                == .published(path: name.alternative(2).finalPath, bytes: 752, truncatedBytes: 0)
        )
        #expect(try directory.bytes(of: "\(filesStem)-2.ts") == filesPackets(0..<4))
    }
}
