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
