import Glibc
package import Posix

/// Reads the segment of a path again and again, cheaply: as long as no record changes, only the words are copied.
///
/// It never maps the file, so that no writer, however broken or hostile, can crash it.
package struct SegmentReader {
    package let path: String
    private let bootID: BootID
    private var segment: OpenSegment?
    /// The last heartbeat that was read, and when it was read first.
    private var heartbeat: (stamp: UInt64, since: BootTime)?

    package init(path: String, bootID: BootID = .current()) {
        (self.path, self.bootID) = (path, bootID)
    }

    /// Takes a snapshot of the file that has the path's name now.
    ///
    /// `isSameFile` says that this is known to be the file of the last snapshot: looking it up by its path costs as much
    /// as reading it.
    package mutating func snapshot(isSameFile: Bool = false) throws(SegmentError) -> Snapshot {
        let segment = try current(isSameFile: isSameFile)
        // The lock first: when it is free, what is read afterwards is the owner's last word.
        let isOwned = try SegmentError.wrapping { () throws(SystemError) in
            try segment.file.isLockedElsewhere()
        }
        let (contents, words) = try segment.read()
        let now = BootTime.now()
        let stamp = words[SegmentWord.heartbeat]
        if heartbeat?.stamp != stamp { heartbeat = (stamp, now) }
        return Snapshot(
            contents,
            words: words,
            isOwned: isOwned,
            now: now,
            wall: .now(),
            bootID: bootID,
            unchangedFor: heartbeat.map { now.since($0.since) }
        )
    }

    /// The open file, opened anew when another one has its name: a following run's.
    private mutating func current(isSameFile: Bool) throws(SegmentError) -> OpenSegment {
        if isSameFile, let segment { return segment }
        do throws(SystemError) {
            let status = try FileSystem.status(of: path)
            if let segment, segment.isFile(status) { return segment }
            let file = try FileDescriptor(opening: path, O_RDONLY | O_NONBLOCK)
            let opened = try OpenSegment(file)
            segment = opened
            return opened
        } catch {
            segment = nil
            throw error.code == ENOENT ? .missing : .unreadable(error)
        }
    }
}
