import Glibc
import Posix

/// Takes up what a crash, a kill or a power cut left of earlier recordings, at start.
///
/// Each step leaves the file as usable as it was, so a kill in the middle costs nothing: the next start does the rest.
struct Recovery {
    let directory: String
    /// The files to take up: those that were there before anything was recorded.
    private let names: [RecordingName]
    /// Whole recordings that were there.
    let finished: [RecordingName]

    /// Lists every `.part` file, and every recording that is finished.
    ///
    /// - Throws: when the directory cannot be read.
    init(directory: String) throws(SystemError) {
        self.directory = directory
        let entries = try FileSystem.entries(of: directory)
        names = entries.compactMap { RecordingName(partName: $0, in: directory) }
        finished = entries.compactMap { RecordingName(finalName: $0, in: directory) }
        // Former versions tried the directory with a file, which a kill could leave.
        for name in entries where name.hasPrefix(".writable-") {
            try? FileSystem.unlink("\(directory)/\(name)")
        }
    }

    /// Works through the files that no living recorder holds; one that fails does not stop the others.
    ///
    /// `isWanted` is asked before each file: what is left then is left to the next start. `onOutcome` is called after each:
    /// many or large ones take their time.
    func run(
        while isWanted: () -> Bool = { true },
        onOutcome: (RecoveredFile) -> Void = { _ in }
    ) -> [RecoveredFile] {
        var files: [RecoveredFile] = []
        for name in names where isWanted() {
            let lastWrittenAt = lastWrite(to: name)
            guard let outcome = recover(name) else { continue }
            let file = RecoveredFile(name: name, lastWrittenAt: lastWrittenAt, outcome: outcome)
            onOutcome(file)
            files.append(file)
        }
        return files
    }

    /// The file's time, before the recovery changes it.
    private func lastWrite(to name: RecordingName) -> WallTime? {
        try? FileSystem.status(of: name.partPath).modifiedAt
    }

    /// What became of one file; `nil` when it was gone by the time of the lock.
    private func recover(_ name: RecordingName) -> RecoveredFile.Outcome? {
        do throws(SystemError) {
            // Not blocking: a FIFO of that name would hold up the start.
            let file = try FileDescriptor(
                opening: name.partPath,
                O_RDWR | O_NOFOLLOW | O_NONBLOCK
            )
            guard try file.tryExclusiveLock(), try !file.isLockedElsewhere() else { return .inUse }
            return try length(of: file, named: name).map { (length) throws(SystemError) in
                try settle(file, named: name, length: length)
            }
        } catch {
            return error.code == ENOENT ? nil : .failed(FinalizeError(error))
        }
    }

    /// The file's length; `nil` when another recovery was faster and took its name away.
    private func length(
        of file: borrowing FileDescriptor,
        named name: RecordingName
    ) throws(SystemError) -> Int? {
        let (held, named) = (try file.status(), try FileSystem.status(of: name.partPath))
        guard held.st_ino == named.st_ino, held.st_dev == named.st_dev else { return nil }
        guard held.st_mode & S_IFMT == S_IFREG else {
            throw SystemError(call: "\(name.partPath) is no regular file: open", code: EINVAL)
        }
        return Int(held.st_size)
    }

    private func settle(
        _ file: borrowing FileDescriptor,
        named name: RecordingName,
        length: Int
    ) throws(SystemError) -> RecoveredFile.Outcome {
        switch try name.finalize(file, length: length) {
        case .published(let path, let bytes, 0): .published(path: path, bytes: bytes)
        case .published(let path, let bytes, let cutBytes):
            .truncated(path: path, bytes: bytes, cutBytes: cutBytes)
        case .empty, nil: try discard(name, length: length)
        }
    }

    /// Removes what is no media; more than a packet is set aside instead: another container's, it may be all there is.
    private func discard(
        _ name: RecordingName,
        length: Int
    ) throws(SystemError) -> RecoveredFile.Outcome {
        guard length > TransportStream.packetBytes else {
            try FileSystem.unlink(name.partPath)
            return .discarded(bytes: length, keptAt: nil)
        }
        try FileSystem.rename(name.partPath, to: name.invalidPath)
        return .discarded(bytes: length, keptAt: name.invalidPath)
    }
}
