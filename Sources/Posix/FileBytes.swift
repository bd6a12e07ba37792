import Glibc

/// A file's bytes as arrays.
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

    /// The content of a configuration or of a secret, from a file or a pipe that the path names: of `limit` bytes at most.
    ///
    /// A pipe that nobody writes to is waited for, and so is its end, but only until `deadline`.
    /// - Throws: `EFBIG` when there is more, `ETIMEDOUT`, `EISDIR`.
    package static func content(
        of path: String,
        atMost limit: Int,
        until deadline: BootTime
    ) throws(SystemError) -> [UInt8] {
        let file = try FileDescriptor(opening: path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
        let isRegular = try file.status().st_mode & S_IFMT == S_IFREG
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        var readable = PollSet()
        readable.append(file.rawValue, for: .reading)
        while true {
            if !isRegular {
                while try readable.wait(until: deadline) == 0 {
                    guard .now() < deadline else {
                        throw SystemError(call: "read \(path)", code: ETIMEDOUT)
                    }
                }
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

    /// What is left to read, also from a pipe; `nil` when that is more than `limit` bytes.
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
