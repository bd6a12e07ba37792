import Glibc
package import Posix

/// Reads the segment of a path again and again, cheaply: as long as no record changes, only the words are copied.
///
/// It never maps the file, so that no writer, however broken or hostile, can crash it.
package struct SegmentReader {
    package let path: String
    private let bootID: BootID
    private var segment: OpenSegment?

    package init(path: String, bootID: BootID = .current()) {
        (self.path, self.bootID) = (path, bootID)
    }

    /// Takes a snapshot of the file that has the path's name now.
    package mutating func snapshot() throws(SegmentError) -> Snapshot {
        let segment = try current()
        // The lock first: when it is free, what is read afterwards is the owner's last word.
        let isOwned = try SegmentError.wrapping { () throws(SystemError) in
            try segment.file.isLockedElsewhere()
        }
        let (contents, words) = try segment.read()
        return Snapshot(
            contents,
            words: words,
            isOwned: isOwned,
            now: .now(),
            bootID: bootID
        )
    }

    /// The open file, opened anew when another one has its name: a following run's.
    private mutating func current() throws(SegmentError) -> OpenSegment {
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
