package import CLinux
package import Glibc

/// A system call that failed, and the `errno` it left.
package struct SystemError: Error, Equatable, CustomStringConvertible {
    package let call: String
    package let code: CInt

    package init(call: String, code: CInt) {
        self.call = call
        self.code = code
    }

    /// The manual page's name of the call, the error's text, and its number.
    package var description: String { "\(call): \(reason) (\(code))" }

    /// The error's text alone, as `strerror(3)` gives it.
    package var reason: String { unsafe String(cString: strerror(code)) }

    /// What an operator can do about it; `nil` where the error says enough.
    package var remedy: String? {
        switch code {
        case EMFILE:
            "this process may have \(Self.descriptorLimit) files open: raise LimitNOFILE= or ulimit -n"
        case ENFILE: "all processes together have too many files open: raise fs.file-max"
        case EAGAIN where call.hasPrefix("pthread_create"):
            "raise TasksMax=, the container's limit of processes, or ulimit -u"
        case EADDRINUSE: "another process listens there: stop it, or choose another address"
        case EADDRNOTAVAIL: "no interface of this machine has the address"
        case EACCES where call.hasPrefix("bind"): "ports below 1024 need CAP_NET_BIND_SERVICE"
        default: nil
        }
    }

    /// The error with its remedy, if there is one.
    package var withRemedy: String { remedy.map { "\(self); \($0)" } ?? description }

    /// Descriptors that this process may have, `RLIMIT_NOFILE`.
    package static var descriptorLimit: UInt64 {
        var limit = rlimit()
        let result = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return result == 0 ? UInt64(limit.rlim_cur) : .max
    }

    /// Whether descriptors or memory ran out, which passes when something is closed.
    package var isResourceShortage: Bool { [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(code) }
}

/// Runs a call that reports failure as `-1`, restarting it when a signal interrupts it.
///
/// Not for `close(2)`: on Linux the descriptor is gone even after `EINTR`.
@discardableResult
package func retrying<T: SignedInteger>(
    _ call: @autoclosure () -> String,
    _ body: () -> T
) throws(SystemError) -> T {
    while true {
        let result = body()
        if result != -1 { return result }
        let code = errno  // Read at once: any later call may overwrite it.
        guard code == EINTR else { throw SystemError(call: call(), code: code) }
    }
}

/// Owns a descriptor and closes it once; every descriptor is close-on-exec.
package struct FileDescriptor: ~Copyable, Sendable {
    package let rawValue: CInt

    /// Takes over a descriptor that the caller received from a system call.
    package init(adopting rawValue: CInt) {
        self.rawValue = rawValue
    }

    /// Opens a file with `open(2)`.
    ///
    /// `flags` as for the call, without `O_CLOEXEC`, which is always set; `mode` counts only with `O_CREAT`.
    package init(
        opening path: String,
        _ flags: CInt,
        mode: mode_t = 0o644
    ) throws(SystemError) {
        rawValue = try retrying("open \(path)") { unsafe open(path, flags | O_CLOEXEC, mode) }
    }

    /// Opens `/dev/null` for each of the first three descriptors that is closed, with `open(2)`: the first statement of a program.
    ///
    /// `COMMAND <&- >&- 2>&-` starts a program without them. The next file or socket would get such a number, and output
    /// for standard output would be written into it.
    package static func openStandard() {
        for number: CInt in 0...2 where fcntl(number, F_GETFD) == -1 {
            // The lowest free number is the missing one. Without /dev, a directory occupies it.
            if unsafe open("/dev/null", O_RDWR) == -1 { _ = unsafe open("/", O_RDONLY) }
        }
    }

    deinit { close(rawValue) }

    /// Facts about the open file, with `fstat(2)`.
    package borrowing func status() throws(SystemError) -> stat {
        var status = stat()
        try retrying("fstat") { unsafe fstat(rawValue, &status) }
        return status
    }

    /// Reads up to `buffer.count` bytes at the current position; 0 is the end of the file.
    package borrowing func read(
        into buffer: UnsafeMutableRawBufferPointer
    ) throws(SystemError) -> Int {
        try retrying("read") {
            unsafe Glibc.read(rawValue, buffer.baseAddress, buffer.count)
        }
    }

    /// Fills `buffer` from `offset` with `pread(2)`; the result is short only at the end of the file.
    package borrowing func read(
        into buffer: UnsafeMutableRawBufferPointer,
        at offset: Int
    ) throws(SystemError) -> Int {
        var filled = 0
        while filled < buffer.count {
            let count = try retrying("pread") {
                unsafe pread(
                    rawValue,
                    buffer.baseAddress.map { unsafe $0 + filled },
                    buffer.count - filled,
                    off_t(offset + filled)
                )
            }
            if count == 0 { break }
            filled += count
        }
        return filled
    }

    /// Writes all of `bytes`, however many `write(2)` calls that takes.
    package borrowing func writeAll(_ bytes: Span<UInt8>) throws(SystemError) {
        var written = 0
        while written < bytes.count {
            let rest = bytes.extracting(droppingFirst: written)
            written += try retrying("write") {
                unsafe rest.withUnsafeBytes { unsafe write(rawValue, $0.baseAddress, $0.count) }
            }
        }
    }

    /// Cuts or extends the file to `length` bytes, with `ftruncate(2)`.
    package borrowing func truncate(to length: Int) throws(SystemError) {
        try retrying("ftruncate") { ftruncate(rawValue, off_t(length)) }
    }

    /// Allocates the first `length` bytes on the disk, with `posix_fallocate(3)`.
    package borrowing func allocate(_ length: Int) throws(SystemError) {
        while true {
            let code = posix_fallocate(rawValue, 0, off_t(length))
            if code == 0 { return }
            guard code == EINTR else { throw SystemError(call: "posix_fallocate", code: code) }
        }
    }

    /// Waits until the file's data and metadata are on the disk, with `fsync(2)`.
    package borrowing func synchronize() throws(SystemError) {
        try retrying("fsync") { fsync(rawValue) }
    }

    /// Waits until the file's data is on the disk, with `fdatasync(2)`.
    package borrowing func synchronizeData() throws(SystemError) {
        try retrying("fdatasync") { fdatasync(rawValue) }
    }
}

/// Contents as arrays.
extension FileDescriptor {
    /// Up to `count` bytes from `offset`, with `pread(2)`; fewer only at the end of the file.
    package borrowing func bytes(at offset: Int, count: Int) throws(SystemError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var span = bytes.mutableSpan
        let filled = try unsafe span.withUnsafeMutableBytes { (buffer) throws(SystemError) in
            try unsafe read(into: buffer, at: offset)
        }
        bytes.removeLast(count - filled)
        return bytes
    }

    /// Reads a configuration or a secret, of at most `limit` bytes, from a file or a pipe.
    ///
    /// Of a pipe, it waits for a writer and for the end of the text, but only until `deadline`.
    /// - Throws: `EFBIG` if there is more, `ETIMEDOUT`, `EISDIR`.
    package static func content(
        of path: String,
        atMost limit: Int,
        until deadline: BootTime
    ) throws(SystemError) -> [UInt8] {
        let file = try FileDescriptor(opening: path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
        let isRegular = try file.status().st_mode & S_IFMT == S_IFREG
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            if !isRegular, try !file.isReady(for: .reading, until: deadline) {
                throw SystemError(call: "read \(path)", code: ETIMEDOUT)
            }
            var span = chunk.mutableSpan
            let count = try retrying("read \(path)") {
                unsafe span.withUnsafeMutableBytes {
                    unsafe Glibc.read(file.rawValue, $0.baseAddress, $0.count)
                }
            }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
            guard bytes.count <= limit else { throw SystemError(call: "read \(path)", code: EFBIG) }
        }
    }

    /// Reads to the end of the file or pipe; `nil` if there are more than `limit` bytes.
    package borrowing func readAll(atMost limit: Int) throws(SystemError) -> [UInt8]? {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            var span = chunk.mutableSpan
            let count = try unsafe span.withUnsafeMutableBytes { (buffer) throws(SystemError) in
                try unsafe read(into: buffer)
            }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
            guard bytes.count <= limit else { return nil }
        }
    }
}

/// Locks that belong to the open file, not to the process: the kernel drops one when the last descriptor and the last mapping of
/// the open file are gone, whatever ended the owner. They are seen across containers and PID namespaces.
extension FileDescriptor {
    /// Takes the write lock of `fcntl(2)` on the whole file, `F_OFD_SETLK`, without waiting; `false` if another open file holds a lock.
    package borrowing func tryLock() throws(SystemError) -> Bool {
        try takesLock("fcntl F_OFD_SETLK") { clinux_set_file_lock(rawValue, F_WRLCK) }
    }

    /// Gives the lock up although a mapping or another process may still have the open file.
    package borrowing func unlock() {
        _ = clinux_set_file_lock(rawValue, F_UNLCK)
    }

    /// Whether another open file holds the write lock, by `F_OFD_GETLK`; needs read permission only.
    ///
    /// Asks for a read lock, which only a write lock excludes: anyone who can read the file could hold a read lock.
    package borrowing func isLockedElsewhere() throws(SystemError) -> Bool {
        let type = try retrying("fcntl F_OFD_GETLK") { clinux_file_lock(rawValue, F_RDLCK) }
        return type != F_UNLCK
    }

    /// Takes the exclusive lock of `flock(2)` without waiting; `false` if another open file holds it.
    ///
    /// It is independent of `tryLock`, and `flock(1)` takes it as well, so that a script can hold one.
    package borrowing func tryExclusiveLock() throws(SystemError) -> Bool {
        try takesLock("flock") { flock(rawValue, LOCK_EX | LOCK_NB) }
    }

    private borrowing func takesLock(_ call: String, _ body: () -> CInt) throws(SystemError) -> Bool
    {
        do throws(SystemError) {
            try retrying(call, body)
            return true
        } catch {
            guard error.code == EAGAIN || error.code == EACCES else { throw error }
            return false
        }
    }
}

/// Both ends of a pipe, close-on-exec.
///
/// The corresponding C function is `pipe2`.
package struct Pipe: ~Copyable, Sendable {
    package let reader: FileDescriptor
    package let writer: FileDescriptor

    package init() throws(SystemError) {
        var ends: [CInt] = [-1, -1]
        try retrying("pipe2") { unsafe clinux_pipe2(&ends, O_CLOEXEC) }
        reader = FileDescriptor(adopting: ends[0])
        writer = FileDescriptor(adopting: ends[1])
    }
}

extension FileDescriptor {
    /// Sets how many bytes a pipe holds, with `F_SETPIPE_SZ`; it stays as it is if that is refused.
    package borrowing func setPipeCapacity(_ bytes: Int) {
        _ = clinux_set_pipe_capacity(rawValue, CInt(clamping: bytes))
    }
}
