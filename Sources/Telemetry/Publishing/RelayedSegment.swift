import Glibc
package import Posix

/// A segment that an earlier exporter published for a client of its ingest socket.
///
/// The client may still be running, so this object holds the lock for it until the client reconnects
/// (`Publisher.init(resuming:)`) or the object is released: then the run has ended like any other without an owner.
package final class RelayedSegment {
    package let identity: RunIdentity
    private let directory: String
    private var file: FileDescriptor?

    /// Locks the segment of a relayed run that has not ended; `nil` for any other file, and if the lock is held.
    ///
    /// A run of another boot has ended. A file that other users may write to is not used.
    package init?(of path: String, bootID: BootID) {
        guard let header = SegmentHeader(ofFileAt: path), header.identity.isRelayed,
            header.identity.bootID == bootID,
            let file = try? FileDescriptor(opening: path, O_RDWR | O_NONBLOCK | O_NOFOLLOW),
            let status = try? file.status(), status.st_uid == geteuid(),
            status.st_mode & 0o022 == 0,
            (try? file.tryLock()) == true, let parts = try? SegmentRecords(of: file),
            parts.lifecycle.state != .stopped
        else { return nil }
        identity = parts.identity
        directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        self.file = consume file
    }

    /// Whether the file at `path` is the segment of a relayed run, which may have ended.
    package static func isRelayed(_ path: String) -> Bool {
        SegmentHeader(ofFileAt: path)?.identity.isRelayed == true
    }

    /// Releases the lock.
    package func abandon() { file = nil }

    /// Continues the run with the same file and lock.
    fileprivate func start() throws(SegmentError) -> RunSettings.Start {
        guard let file = file.take() else { throw .missing }
        let header = try SegmentHeader(of: file)
        let parts = try SegmentRecords(of: file)
        let size = header.layout.fileSize
        let memory = try SegmentError.wrapping { () throws(SystemError) in
            try file.allocate(size)
            return try SharedMemory(mapping: file, wordCount: size / 8)
        }
        do throws(SegmentError) {
            let state = try PublisherState(resuming: parts, header, memory)
            return RunSettings.Start(state: state, file: file, warning: nil, directory: directory)
        } catch {
            unsafe memory.release()
            throw error
        }
    }
}

extension Publisher {
    /// Continues a run whose previous publisher has exited while its process is still running.
    package convenience init(resuming segment: RelayedSegment) throws(SegmentError) {
        self.init(try segment.start())
    }
}

extension SegmentHeader {
    fileprivate init(of file: borrowing FileDescriptor) throws(SegmentError) {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try file.bytes(at: 0, count: SegmentLayout.headerSize)
        } catch {
            throw .unreadable(error)
        }
        try self.init(bytes)
    }

    /// `nil` if there is none.
    fileprivate init?(ofFileAt path: String) {
        guard let file = try? FileDescriptor(opening: path, O_RDONLY | O_NONBLOCK),
            let status = try? file.status(), status.st_mode & S_IFMT == S_IFREG,
            let header = try? SegmentHeader(of: file)
        else { return nil }
        self = header
    }
}

extension SegmentRecords {
    fileprivate init(of file: borrowing FileDescriptor) throws(SegmentError) {
        let header = try SegmentHeader(of: file)
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try file.bytes(at: 0, count: header.layout.fileSize)
        } catch {
            throw .unreadable(error)
        }
        try self.init(bytes, header)
    }
}
