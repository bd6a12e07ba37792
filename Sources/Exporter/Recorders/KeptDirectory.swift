import Glibc
import Posix

/// A directory that is kept open, since to ask its descriptor costs a fraction of looking up its path.
struct KeptDirectory {
    /// How late it is noticed that another directory has the path; that this one was removed is noticed at once.
    private static let validity = Duration.seconds(1)

    let path: String
    private var opened: Opened?

    private final class Opened {
        let file: FileDescriptor
        let since: BootTime

        init(_ path: String, at now: BootTime) throws(SystemError) {
            file = try FileDescriptor(opening: path, O_RDONLY | O_DIRECTORY)
            since = now
        }
    }

    init(path: String) {
        self.path = path
    }

    /// The state of the directory, with `fstat(2)`.
    mutating func status(at now: BootTime) throws(SystemError) -> stat {
        if let opened, now.since(opened.since) < Self.validity {
            let status = try opened.file.status()
            if status.st_nlink > 0 { return status }
        }
        opened = nil
        let opened = try Opened(path, at: now)
        self.opened = opened
        return try opened.file.status()
    }
}
