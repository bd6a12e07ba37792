import Glibc
package import Posix

/// A segment that an exporter kept for a process which speaks to its ingest socket, found when that exporter was gone.
///
/// Its lock is held for the process, which may well live, until it comes back (`Publisher.init(resuming:)`) or this object
/// goes: then the run is judged as any other whose owner is gone.
package final class RelayedSegment {
    package let identity: RunIdentity
    private let directory: String
    private var file: FileDescriptor?

    /// Takes the lock of a relayed run that is not over; `nil` for any other file, and for a run that somebody keeps.
    ///
    /// No process outlives a boot, so a run of another one is over. A file that others may write, or cut, is not ours.
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

    /// Whether the file of `path` is a relayed run, living or over.
    package static func isRelayed(_ path: String) -> Bool {
        SegmentHeader(ofFileAt: path)?.identity.isRelayed == true
    }

    /// Gives up the lock.
    package func abandon() { file = nil }

    /// What a publisher goes on with, by the same file and the same lock.
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
    /// Goes on with a run whose last publisher is gone, although its process is not.
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

    /// `nil` where there is none.
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
