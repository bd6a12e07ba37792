import Glibc
package import Posix

/// Owns the file of an open recording: appends media, syncs it, and publishes it.
///
/// Without `finish` the `.part` file stays as it is, for the recovery of the next start.
package struct PartFile: ~Copyable, Sendable {
    package let name: RecordingName
    /// Bytes appended and accepted by the kernel.
    package private(set) var bytesWritten = 0
    /// Bytes that are on the disk, and so survive a power cut.
    private(set) var bytesSynced = 0

    private let file: FileDescriptor
    private let syncInterval: Duration
    private var lastSync: BootTime
    /// The first failure of a sync: the kernel reports lost writes once, and a later sync succeeds without them.
    private var syncFailure: SystemError?

    /// Takes over an open and locked file; `create` creates one.
    init(
        adopting file: consuming FileDescriptor,
        name: RecordingName,
        syncInterval: Duration,
        now: BootTime
    ) {
        self.file = file
        self.name = name
        self.syncInterval = syncInterval
        lastSync = now
    }

    /// The file and its name, to check them later.
    package var identity: PartIdentity? { try? PartIdentity(path: name.partPath, file.status()) }

    /// Appends media; after a failure the file is as it was before.
    package mutating func append(_ media: Span<UInt8>) throws(SystemError) {
        do throws(SystemError) {
            try file.writeAll(media)
        } catch {
            try? file.truncate(to: bytesWritten)
            throw error
        }
        bytesWritten += media.count
    }

    /// Waits until the media is on the disk, if the sync interval has passed since it last was.
    package mutating func synchronizeIfDue(now: BootTime) throws(SystemError) {
        guard bytesSynced < bytesWritten, now.since(lastSync) >= syncInterval else { return }
        do throws(SystemError) {
            try file.synchronizeData()
        } catch {
            syncFailure = syncFailure ?? error
            throw error
        }
        (bytesSynced, lastSync) = (bytesWritten, now)
    }

    /// Ends the recording: truncates the file to its last complete packet, syncs it, and gives it its final name.
    ///
    /// - Throws: what failed; the `.part` file is left to the next start.
    package consuming func finish() throws(FinalizeError) -> FinalizeResult {
        if let syncFailure { throw FinalizeError(syncFailure) }
        do throws(SystemError) {
            let isInPlace = try identity?.isInPlace() ?? true
            guard bytesWritten > 0 else {
                if isInPlace { try FileSystem.unlink(name.partPath) }
                return .empty
            }
            guard isInPlace else {
                throw SystemError(
                    call: "\(name.partPath) was removed or replaced: link",
                    code: ENOENT
                )
            }
            // flock(2) keeps recorders apart; a lock of fcntl(2) is another program's, such as Samba's.
            guard try !file.isLockedElsewhere() else {
                throw SystemError(call: "fcntl \(name.partPath)", code: EWOULDBLOCK)
            }
            let complete = try name.container.completeLength(of: file)
            if complete > 0 {
                // Also if somebody has made a hard link: all of it is this recording's.
                if complete < bytesWritten { try file.truncate(to: complete) }
                try file.synchronize()
                let truncatedBytes = bytesWritten - complete
                return .published(
                    path: try name.publish(),
                    bytes: complete,
                    truncatedBytes: truncatedBytes
                )
            }
        } catch {
            throw FinalizeError(error)
        }
        throw FinalizeError(.invalidMedia, detail: "\(name.partPath) holds no \(name.container)")
    }
}

/// The file that a part's name is to refer to.
package struct PartIdentity: Equatable, Sendable {
    package let path: String
    private let device: dev_t
    private let number: ino_t

    init(path: String, _ status: stat) {
        (self.path, device, number) = (path, status.st_dev, status.st_ino)
    }

    /// Whether the name still refers to the file; blocks as long as the file system does.
    package func isInPlace() throws(SystemError) -> Bool {
        do throws(SystemError) {
            let named = try FileSystem.linkStatus(of: path)
            return named.st_dev == device && named.st_ino == number
        } catch {
            guard error.code == ENOENT || error.code == ENOTDIR else { throw error }
            return false
        }
    }
}

/// The result of finalizing a file.
package enum FinalizeResult: Equatable, Sendable {
    /// It has its final name, and `bytes` bytes; `truncatedBytes` at its end were no complete packet.
    case published(path: String, bytes: Int, truncatedBytes: Int)
    /// Nothing was recorded, and the file is gone.
    case empty
}

extension PartFile {
    /// Creates a new file, such as `STREAM-20261123T104500Z.ts.part`, and locks it; a number is added if the name is taken.
    ///
    /// Syncs its directory too: otherwise a power cut could lose the name, and with it media that was synced.
    /// - Throws: `EWOULDBLOCK` when another program locks the new file first; `EEXIST` when all names are taken.
    package static func create(
        _ plain: RecordingName,
        syncInterval: Duration,
        now: BootTime = .now()
    ) throws(SystemError) -> PartFile {
        for number in 1...RecordingName.maxAlternatives {
            let name = plain.alternative(number)
            guard try !isTaken(name.finalPath), let file = try open(name) else { continue }
            do throws(SystemError) {
                try name.synchronizeDirectory()
            } catch {
                try? FileSystem.unlink(name.partPath)
                throw error
            }
            return PartFile(adopting: file, name: name, syncInterval: syncInterval, now: now)
        }
        throw SystemError(call: "open \(plain.partPath)", code: EEXIST)
    }

    private static func isTaken(_ path: String) throws(SystemError) -> Bool {
        do throws(SystemError) {
            _ = try FileSystem.linkStatus(of: path)
            return true
        } catch {
            guard error.code == ENOENT else { throw error }
            return false
        }
    }

    /// Creates and locks the file; `nil` if the name is taken.
    private static func open(_ name: RecordingName) throws(SystemError) -> FileDescriptor? {
        let file: FileDescriptor
        do throws(SystemError) {
            // Appending, so that a truncation also moves the place of the next write.
            let flags = O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW
            file = try FileDescriptor(opening: name.partPath, flags)
        } catch {
            guard error.code == EEXIST else { throw error }
            return nil
        }
        guard try lock(file, at: name.partPath) else {
            throw SystemError(call: "flock \(name.partPath)", code: EWOULDBLOCK)
        }
        return file
    }

    /// Locks the new file; if that fails, removes it, or every attempt would leave another empty file.
    private static func lock(
        _ file: borrowing FileDescriptor,
        at path: String
    ) throws(SystemError) -> Bool {
        do throws(SystemError) {
            return try file.tryExclusiveLock()
        } catch {
            try? FileSystem.unlink(path)
            throw error
        }
    }
}

extension RecordingName {
    /// Gives the complete and synced file at `partPath`, or at `draft`, a final name that no other file has, and removes the old one.
    ///
    /// By `link(2)`, `fsync(2)` of the directory, `unlink(2)`, in this order. `rename(2)` would replace a file of that name,
    /// and a placeholder made first to reserve it would be a false recording after a crash. A crash between these steps
    /// leaves both names on the one complete file; the next attempt detects that and continues. After the directory's sync the final
    /// name survives a power cut, and a part's name that comes back with one is again the former case.
    ///
    /// - Returns: the final path, with a number in it if the plain one is taken.
    package func publish(
        _ draft: String? = nil,
        as newPath: (RecordingName) -> String = { $0.finalPath }
    ) throws(SystemError) -> String {
        let draft = draft ?? partPath
        for number in 1...Self.maxAlternatives {
            let path = newPath(alternative(number))
            guard try claim(path, for: draft) else { continue }
            try synchronizeDirectory()
            try FileSystem.unlink(draft)
            return path
        }
        throw SystemError(call: "link \(newPath(self))", code: EEXIST)
    }

    /// Syncs the names in the directory.
    func synchronizeDirectory() throws(SystemError) {
        do throws(SystemError) {
            try FileSystem.synchronizeDirectory(directory)
        } catch {
            // Some network mounts report that they cannot sync a directory; nothing more can be done there.
            guard error.code == EINVAL || error.code == EOPNOTSUPP else { throw error }
        }
    }

    /// Gives the draft the name `path`; `false` when another file has it.
    private func claim(_ path: String, for draft: String) throws(SystemError) -> Bool {
        do throws(SystemError) {
            try FileSystem.link(draft, to: path)
            return true
        } catch {
            switch error.code {
            case EEXIST: return try isSameFile(path, draft)
            case EPERM, EOPNOTSUPP, ENOSYS, EMLINK: return try rename(draft, to: path)
            default: throw error
            }
        }
    }

    /// A symbolic link is another file, whatever it refers to: its draft is about to be unlinked.
    private func isSameFile(_ path: String, _ draft: String) throws(SystemError) -> Bool {
        let one = try FileSystem.linkStatus(of: path)
        let other = try FileSystem.linkStatus(of: draft)
        return one.st_ino == other.st_ino && one.st_dev == other.st_dev
    }

    /// For file systems without links (exFAT, some network mounts): checks the name, then renames.
    ///
    /// Between the two steps only another program could take the name, because recorders hold the part's lock.
    private func rename(_ draft: String, to path: String) throws(SystemError) -> Bool {
        do throws(SystemError) {
            _ = try FileSystem.linkStatus(of: path)
            return false
        } catch {
            guard error.code == ENOENT else { throw error }
        }
        try FileSystem.rename(draft, to: path)
        return true
    }
}

/// Why a recording's file could not be created or finalized.
package struct FinalizeError: Error, Equatable, CustomStringConvertible {
    /// The label of the metric.
    package enum Reason: String, CaseIterable, Sendable {
        case timeout
        case fileLocked = "file_locked"
        case noSpace = "no_space"
        case permission
        case io
        case invalidMedia = "invalid_media"
        case other

        /// The words of the log line, which operators search for.
        var words: String {
            switch self {
            case .timeout: "timeout"
            case .fileLocked: "file locked"
            case .noSpace: "no space left"
            case .permission: "permission denied"
            case .io: "input/output error"
            case .invalidMedia: "invalid media"
            case .other: "unexpected error"
            }
        }
    }

    package let reason: Reason
    /// What happened to which file, for a field of the log line.
    package let detail: String

    /// The words of the log line: `file locked`.
    package var description: String { reason.words }

    package init(_ reason: Reason, detail: String) {
        self.reason = reason
        self.detail = detail
    }

    package init(_ error: SystemError) {
        self.init(Reason(code: error.code), detail: error.description)
    }
}

extension FinalizeError.Reason {
    /// The reason that an `errno` stands for.
    package init(code: CInt) {
        self =
            switch code {
            case ENOSPC, EDQUOT: .noSpace
            case EACCES, EPERM, EROFS: .permission
            case EWOULDBLOCK, EBUSY, ETXTBSY, EDEADLK: .fileLocked
            case EIO, ENXIO, ENODEV, ESTALE, EREMOTEIO: .io
            case ETIMEDOUT: .timeout
            default: .other
            }
    }
}
