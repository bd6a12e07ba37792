package import Glibc

/// Calls on paths, under their manual-page names.
package enum FileSystem {
    /// Facts about the file at `path`, with `stat(2)`.
    package static func status(of path: String) throws(SystemError) -> stat {
        var status = stat()
        try retrying("stat \(path)") { unsafe stat(path, &status) }
        return status
    }

    /// Facts about the name `path` itself, with `lstat(2)`: of a symbolic link, not of what it refers to.
    package static func linkStatus(of path: String) throws(SystemError) -> stat {
        var status = stat()
        try retrying("lstat \(path)") { unsafe lstat(path, &status) }
        return status
    }

    /// The path of an existing file with no symbolic link in it, with `realpath(3)`.
    package static func resolved(_ path: String) throws(SystemError) -> String {
        var resolved: UnsafeMutablePointer<CChar>?
        try retrying("realpath \(path)") {
            unsafe resolved = realpath(path, nil)
            return unsafe resolved == nil ? -1 : 0
        }
        guard let text = unsafe resolved else { return path }
        defer { unsafe free(text) }
        return unsafe String(cString: text)
    }

    /// Removes an empty directory, with `rmdir(2)`.
    package static func removeDirectory(_ path: String) throws(SystemError) {
        try retrying("rmdir \(path)") { unsafe rmdir(path) }
    }

    /// Moves `old` over `new` in one step, with `rename(2)`.
    package static func rename(_ old: String, to new: String) throws(SystemError) {
        try retrying("rename \(old)") { unsafe Glibc.rename(old, new) }
    }

    /// Gives a file a second name, with `link(2)`; fails with `EEXIST` when the name is taken.
    package static func link(_ existing: String, to new: String) throws(SystemError) {
        try retrying("link \(new)") { unsafe Glibc.link(existing, new) }
    }

    /// Removes a name, with `unlink(2)`; a missing one is no error.
    package static func unlink(_ path: String) throws(SystemError) {
        do throws(SystemError) {
            try retrying("unlink \(path)") { unsafe Glibc.unlink(path) }
        } catch {
            guard error.code == ENOENT else { throw error }
        }
    }

    /// Sets a file's permissions, with `chmod(2)`.
    package static func setMode(_ mode: mode_t, of path: String) throws(SystemError) {
        try retrying("chmod \(path)") { unsafe chmod(path, mode) }
    }

    /// Checks that this process may create files in `directory`, with `access(2)`.
    package static func checkWritable(_ directory: String) throws(SystemError) {
        try retrying("access \(directory)") { unsafe access(directory, W_OK | X_OK) }
    }

    /// Creates one directory, with `mkdir(2)`; an existing one is no error.
    package static func makeDirectory(_ path: String) throws(SystemError) {
        do throws(SystemError) {
            try retrying("mkdir \(path)") { unsafe mkdir(path, 0o755) }
        } catch {
            guard error.code == EEXIST else { throw error }
        }
    }

    /// Makes the entries of `directory` durable: a `rename` is atomic, not durable, without it.
    package static func synchronizeDirectory(_ directory: String) throws(SystemError) {
        try FileDescriptor(opening: directory, O_RDONLY | O_DIRECTORY).synchronize()
    }

    /// Creates the directory that `path` stands in, where it is missing.
    package static func makeParentDirectory(of path: String) throws(SystemError) {
        guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return }
        try makeDirectories(String(path[..<slash]))
    }

    /// Creates a directory and those above it, where they are missing.
    package static func makeDirectories(_ path: String) throws(SystemError) {
        if let status = try? status(of: path), status.st_mode & S_IFMT == S_IFDIR { return }
        try makeParentDirectory(of: path)
        try makeDirectory(path)
    }

    /// The names in `directory` without `.` and `..`, sorted.
    package static func entries(of directory: String) throws(SystemError) -> [String] {
        try entries(of: directory, atMost: .max).names
    }

    /// At most `limit` names in `directory`, without `.` and `..`, sorted; and whether these are all.
    package static func entries(
        of directory: String,
        atMost limit: Int
    ) throws(SystemError) -> (names: [String], isComplete: Bool) {
        var opened: OpaquePointer?
        try retrying("opendir \(directory)") {
            unsafe opened = opendir(directory)
            return unsafe opened == nil ? -1 : 0
        }
        guard let stream = unsafe opened else { return ([], true) }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let name = try unsafe nextEntry(of: stream, directory) {
            guard name != ".", name != ".." else { continue }
            guard names.count < limit else { return (names.sorted(), false) }
            names.append(name)
        }
        return (names.sorted(), true)
    }

    /// The next name, with `readdir(3)`; `nil` at the end, which looks like a failure but for `errno`.
    private static func nextEntry(
        of stream: OpaquePointer,
        _ directory: String
    ) throws(SystemError) -> String? {
        var entry: UnsafeMutablePointer<dirent>?
        try retrying("readdir \(directory)") {
            errno = 0
            unsafe entry = readdir(stream)
            return unsafe entry == nil && errno != 0 ? -1 : 0
        }
        guard let entry = unsafe entry else { return nil }
        return unsafe withUnsafePointer(to: &entry.pointee.d_name) {
            unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) {
                unsafe String(cString: $0)
            }
        }
    }
}

extension stat {
    /// Whether the file's mode lets every user read it, beside its owner and its group.
    package var isReadableByOthers: Bool { st_mode & S_IROTH != 0 }

    /// The time of the last change of the content, as coarse as the file system's clock.
    ///
    /// A file can have any time: one before 1970 counts as 1970, one after 2554 as 2554.
    package var modifiedAt: WallTime {
        let sinceEpoch = Duration.seconds(st_mtim.tv_sec) + .nanoseconds(st_mtim.tv_nsec)
        return WallTime(nanoseconds: sinceEpoch.wholeNanoseconds)
    }
}

/// Free space and size of the file system that contains a path, in bytes.
package struct DiskSpace: Equatable, Sendable {
    /// Space that an ordinary user can still fill: without the blocks reserved for root.
    package let freeBytes: UInt64
    package let sizeBytes: UInt64

    package init(freeBytes: UInt64, sizeBytes: UInt64) {
        (self.freeBytes, self.sizeBytes) = (freeBytes, sizeBytes)
    }

    /// Asks the file system of `path`, with `statvfs(3)`.
    package init(at path: String) throws(SystemError) {
        var facts = statvfs()
        try retrying("statvfs \(path)") { unsafe statvfs(path, &facts) }
        // A network or user-space file system may report any numbers.
        let blockBytes = UInt64(facts.f_frsize)
        freeBytes = UInt64(facts.f_bavail).multipliedWithSaturation(by: blockBytes)
        sizeBytes = UInt64(facts.f_blocks).multipliedWithSaturation(by: blockBytes)
    }
}
