import Foundation
import Glibc
import Posix
import Testing

@testable import Media
@testable import Recorder

@Suite("Files on failing disks", .timeLimit(.minutes(5)))
struct FilesFailureTests {
    private let directory = FilesDirectory()

    /// Appends packets until the disk is full; how many are in the file.
    private func fill(_ part: inout PartFile) throws -> Int {
        for number in 0..<10_000 {
            do throws(SystemError) {
                try part.append(filesPackets(number * 8..<number * 8 + 8).span)
            } catch {
                #expect(error.code == ENOSPC)
                return number * 8
            }
        }
        throw CancellationError()
    }

    @Test("a full disk takes no part of an append, and the recording before it is published")
    func fullDisk() throws {
        let mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", directory.path]
        guard try filesRun(mount) == 0 else { return try fullDevice() }
        defer { _ = try? filesRun(["umount", "-l", directory.path]) }
        var part = try filesPart(in: directory.path)
        let packets = try fill(&part)
        #expect(packets > 1000)
        #expect(part.bytesWritten == packets * 188)
        let path = part.name.finalPath
        #expect(
            try part.finish() == .published(path: path, bytes: packets * 188, truncatedBytes: 0)
        )
        #expect(try directory.bytes(of: "\(filesStem).ts") == filesPackets(0..<packets))
    }

    @Test("an append to a full device fails as it should")
    func fullDevice() throws {
        let name = RecordingName(directory: directory.path, stem: "full", container: .mpegTS)
        var part = PartFile(
            adopting: try FileDescriptor(opening: "/dev/full", O_RDWR),
            name: name,
            syncInterval: .zero,
            now: .now()
        )
        #expect(try fill(&part) == 0)
        #expect(part.bytesWritten == 0)
    }

    @Test("a sync that failed once fails the recording, also when a later one would succeed")
    func failedSync() throws {
        // A pipe cannot be synced: EINVAL.
        let pipe = try Posix.Pipe()
        let name = RecordingName(directory: directory.path, stem: "pipe", container: .mpegTS)
        var part = PartFile(
            adopting: FileDescriptor(adopting: dup(pipe.writer.rawValue)),
            name: name,
            syncInterval: .zero,
            now: .now()
        )
        try part.append(filesPackets(0..<1).span)
        #expect(throws: SystemError(call: "fdatasync", code: EINVAL)) {
            try part.synchronizeIfDue(now: .now())
        }
        #expect(try filesError(finishing: part).detail.hasPrefix("fdatasync"))
    }

    @Test("a directory without permission: neither a new file nor a final name")
    func permission() throws {
        var part = try filesPart(in: directory.path)
        try part.append(filesPackets(0..<1).span)
        chmod(directory.path, 0o555)
        defer { chmod(directory.path, 0o755) }
        let refused = try filesUnprivileged {
            try #require(throws: SystemError.self) {
                _ = try filesPart(in: directory.path, stream: "other")
            }
        }
        #expect(FinalizeError(refused).reason == .permission)
        // A consumed value cannot go into a closure, so this one takes it from an optional.
        var slot = Optional(part)
        let kept = try filesUnprivileged {
            guard let part = slot.take() else { throw CancellationError() }
            return try filesError(finishing: part)
        }
        #expect(kept.reason == .permission)
        #expect(try directory.entries == ["\(filesStem).ts.part"])
    }

    @Test("a file that another program has locked is not published")
    func lockedByAnotherProgram() throws {
        var part = try filesPart(in: directory.path)
        try part.append(filesPackets(0..<1).span)
        let script = """
            import fcntl, sys
            file = open(sys.argv[1], "r+")
            fcntl.lockf(file, fcntl.LOCK_EX)
            print("ready", flush=True)
            sys.stdin.read()
            """
        let holder = try FilesHolder(["python3", "-c", script, part.name.partPath])
        let refused = try filesError(finishing: part)
        #expect(refused.reason == .fileLocked)
        #expect(Recovery.outcomes(in: directory.path) == [.inUse])
        try holder.release()
        let path = "\(directory.path)/\(filesStem).ts"
        #expect(
            Recovery.outcomes(in: directory.path) == [.published(path: path, bytes: 188)]
        )
    }
}

extension Recovery {
    /// What a recovery finds, without the names.
    static func outcomes(in directory: String) -> [RecoveredFile.Outcome] {
        ((try? Recovery(directory: directory).run()) ?? []).map(\.outcome)
    }
}
