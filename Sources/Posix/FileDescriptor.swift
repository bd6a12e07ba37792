package import Glibc

/// Writes all of `bytes` to a descriptor that somebody else owns, however many `write(2)` calls that takes.
func write(all bytes: Span<UInt8>, to descriptor: CInt) throws(SystemError) {
    var written = 0
    while written < bytes.count {
        let rest = bytes.extracting(droppingFirst: written)
        written += try retrying("write") {
            unsafe rest.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
        }
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

    /// Opens `/dev/null` for each of the first three descriptors that is closed, with `open(2)`; the first statement of a program.
    ///
    /// `COMMAND <&- >&- 2>&-` starts a program without them. The next file or socket would take such a number, and what
    /// is meant for standard output would be written into it.
    package static func openStandard() {
        for number: CInt in 0...2 where fcntl(number, F_GETFD) == -1 {
            // The lowest free number is the one that is missing. A directory keeps the place where there is no /dev.
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
        try write(all: bytes, to: rawValue)
    }

    /// Cuts or extends the file to `length` bytes, with `ftruncate(2)`.
    package borrowing func truncate(to length: Int) throws(SystemError) {
        try retrying("ftruncate") { ftruncate(rawValue, off_t(length)) }
    }

    /// Makes sure that the first `length` bytes have their place on the disk, with `posix_fallocate(3)`.
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
