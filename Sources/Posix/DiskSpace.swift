import Glibc

/// Room on the file system that holds a path, in bytes.
package struct DiskSpace: Equatable, Sendable {
    /// Room that an ordinary user can still fill; less than what is free, where root keeps a reserve.
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
