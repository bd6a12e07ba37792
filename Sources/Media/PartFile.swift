package import Glibc
package import Posix

/// Owns the file of a running recording: appends media, keeps it on the disk, and publishes it.
///
/// Without `finish` the `.part` file stays as it is, for the recovery of the next start.
package struct PartFile: ~Copyable, Sendable {
    package let name: RecordingName
    /// Bytes appended and accepted by the kernel.
    package private(set) var bytesWritten = 0
    /// Bytes that are on the disk: a power cut does not cost them.
    private(set) var bytesSynced = 0

    private let file: FileDescriptor
    private let syncInterval: Duration
    private var lastSync: BootTime
    /// The first failure of a sync: the kernel reports lost writes once, and a later sync succeeds without them.
    private var syncFailure: SystemError?

    /// Takes over an open and locked file; `create` makes one.
    package init(
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

    /// The file and its name, for somebody who watches it.
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

    /// Ends the recording: cuts it to its last whole packet, syncs it, and gives it its final name.
    ///
    /// - Throws: what failed; the `.part` file is left to the next start.
    package consuming func finish() throws(FinalizeError) -> FinishedFile {
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
            let whole = try name.container.wholeLength(of: file)
            if whole > 0 {
                // Also where somebody has made a hard link: all of it is this recording's.
                if whole < bytesWritten { try file.truncate(to: whole) }
                try file.synchronize()
                let cutBytes = bytesWritten - whole
                return .published(path: try name.publish(), bytes: whole, cutBytes: cutBytes)
            }
        } catch {
            throw FinalizeError(error)
        }
        throw FinalizeError(.invalidMedia, detail: "\(name.partPath) holds no \(name.container)")
    }
}

/// Which file a part's name is to refer to.
package struct PartIdentity: Equatable, Sendable {
    package let path: String
    private let device: dev_t
    private let number: ino_t

    package init(path: String, _ status: stat) {
        (self.path, device, number) = (path, status.st_dev, status.st_ino)
    }

    /// Whether the name refers to the file still; blocks as long as the file system does.
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

/// What became of a recording's file.
package enum FinishedFile: Equatable, Sendable {
    /// It has its final name, and `bytes` bytes; `cutBytes` at its end were no whole packet.
    case published(path: String, bytes: Int, cutBytes: Int)
    /// Nothing was recorded, and the file is gone.
    case empty
}
