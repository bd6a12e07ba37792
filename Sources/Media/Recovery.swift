import Glibc
package import Posix

/// Finalizes the part files that a crash, a kill or a power cut left, at the start.
///
/// Each step leaves the file as usable as it was, so a kill in between loses nothing: the next start does the rest.
package struct Recovery {
    package let directory: String
    /// The part files that were there before anything was recorded.
    private let names: [RecordingName]
    /// The finalized recordings that were there.
    package let finished: [RecordingName]
    /// Files that end as part files do, but have no name that a recorder gives: other programs', which are left alone.
    package let foreign: [String]

    /// Lists every part file, and every finalized recording.
    ///
    /// - Throws: when the directory cannot be read.
    package init(directory: String) throws(SystemError) {
        self.directory = directory
        let entries = try FileSystem.entries(of: directory)
        names = entries.compactMap { RecordingName(partName: $0, in: directory) }
        finished = entries.compactMap { RecordingName(finalName: $0, in: directory) }
        foreign = entries.filter { name in
            MediaContainer.allCases.contains { name.hasSuffix($0.partSuffix) }
                && RecordingName(partName: name, in: directory) == nil
        }
        for name in entries { Self.removeProbe(name, in: directory) }
    }

    /// Removes an empty `.writable-PID`, with which former versions tested the directory, and which a kill could leave.
    private static func removeProbe(_ name: String, in directory: String) {
        let (prefix, path) = (".writable-", "\(directory)/\(name)")
        guard name.hasPrefix(prefix), CInt(name.dropFirst(prefix.count)) ?? 0 > 0,
            let status = try? FileSystem.linkStatus(of: path),
            status.st_mode & S_IFMT == S_IFREG, status.st_size == 0
        else { return }
        try? FileSystem.unlink(path)
    }

    /// Recovers the files that no running recorder has locked; one that fails does not stop the others.
    ///
    /// `isWanted` is called before each file; when it returns `false`, the rest is left to the next start. `onOutcome` is called after each.
    package func run(
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
        try? FileSystem.linkStatus(of: name.partPath).modifiedAt
    }

    /// The result for one file; `nil` if it was gone by the time of the lock.
    private func recover(_ name: RecordingName) -> RecoveredFile.Outcome? {
        do throws(SystemError) {
            let named = try FileSystem.linkStatus(of: name.partPath)
            guard named.st_mode & S_IFMT == S_IFREG else {
                let detail = "\(name.partPath) is not a regular file"
                return .failed(FinalizeError(.other, detail: detail))
            }
            // Not blocking: a FIFO may have taken the name since.
            let file = try FileDescriptor(
                opening: name.partPath,
                O_RDWR | O_NOFOLLOW | O_NONBLOCK
            )
            guard try file.tryExclusiveLock(), try !file.isLockedElsewhere() else { return .inUse }
            let held = try file.status()
            // Otherwise another recovery was faster.
            guard try PartIdentity(path: name.partPath, held).isInPlace() else { return nil }
            return try finalize(file, named: name, held)
        } catch {
            return error.code == ENOENT ? nil : .failed(FinalizeError(error))
        }
    }

    private func finalize(
        _ file: borrowing FileDescriptor,
        named name: RecordingName,
        _ status: stat
    ) throws(SystemError) -> RecoveredFile.Outcome {
        let length = Int(status.st_size)
        let complete = try name.container.completeLength(of: file)
        guard complete > 0 else { return try discard(name, length: length) }
        if complete < length {
            guard status.st_nlink == 1 else {
                let detail = "\(name.partPath) has \(status.st_nlink) hard links"
                let remedy = ": truncating it would change the others, copy it or remove them"
                return .failed(FinalizeError(.other, detail: detail + remedy))
            }
            try file.truncate(to: complete)
        }
        try file.synchronize()
        let path = try name.publish()
        guard complete < length else { return .published(path: path, bytes: length) }
        return .truncated(path: path, bytes: complete, truncatedBytes: length - complete)
    }

    /// Keeps a file in which no media was found: another container's, or not this recorder's at all.
    ///
    /// Only an empty one is removed.
    private func discard(
        _ name: RecordingName,
        length: Int
    ) throws(SystemError) -> RecoveredFile.Outcome {
        guard length > 0 else {
            try FileSystem.unlink(name.partPath)
            return .discarded(bytes: 0, keptAt: nil)
        }
        return .discarded(bytes: length, keptAt: try name.publish { $0.invalidPath })
    }
}

/// A part file of an earlier run, and what the recovery did with it.
package struct RecoveredFile: Equatable, Sendable {
    package let name: RecordingName
    /// When media was last written to it, by the file's time; `nil` when that could not be read.
    package var lastWrittenAt: WallTime?
    package let outcome: Outcome

    package enum Outcome: Equatable, Sendable, CustomStringConvertible {
        /// It was complete, and has its final name.
        case published(path: String, bytes: Int)
        /// It has its final name; `truncatedBytes` at its end were no complete packet.
        case truncated(path: String, bytes: Int, truncatedBytes: Int)
        /// No media was found in it: it is kept at `keptAt`, or was empty and is removed.
        case discarded(bytes: Int, keptAt: String?)
        /// A running recorder has locked it.
        case inUse
        /// It is left unchanged, for the next start.
        case failed(FinalizeError)

        /// In words, for the log.
        package var description: String {
            switch self {
            case .published(let path, let bytes): "recovered as \(path), \(bytes) bytes"
            case .truncated(let path, let bytes, let cut):
                "recovered as \(path), \(bytes) bytes, after \(cut) incomplete bytes at the end were removed"
            case .discarded(_, nil): "removed, it was empty"
            case .discarded(let bytes, let path?): "no media in \(bytes) bytes, kept as \(path)"
            case .inUse: "locked by another program"
            case .failed(let error): "left unchanged: \(error.detail)"
            }
        }
    }

    /// The label of the metric; `nil` for a file that was not recovered.
    package enum Label: String, CaseIterable, Sendable {
        case published, truncated, discarded
    }

    package var label: Label? {
        switch outcome {
        case .published: .published
        case .truncated: .truncated
        case .discarded: .discarded
        case .inUse, .failed: nil
        }
    }
}
