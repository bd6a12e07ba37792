import Glibc
package import Posix

/// A finished file as the catalogue knows it.
package struct StoredFile: Equatable, Sendable {
    package let path: String
    /// As many as were on the disk when it was finished.
    package let bytes: Int

    package init(path: String, bytes: Int) {
        (self.path, self.bytes) = (path, bytes)
    }

    /// Why it is not removed.
    package enum Objection: Error, Equatable, CustomStringConvertible {
        /// Its name is not one that a recorder gives.
        case foreign
        case locked
        /// Its size is another than when it was finished: somebody works on it.
        case changed(bytes: Int)
        case system(SystemError)

        package var description: String {
            switch self {
            case .foreign: "not named as a recording of this recorder"
            case .locked: "locked by another program"
            case .changed(let bytes): "has \(bytes) bytes, not as many as were recorded"
            case .system(let error): error.description
            }
        }
    }

    /// Opens the file, and locks it against whoever else would remove or convert it; `nil` when it is gone.
    ///
    /// - Throws: why it must not be touched.
    package func lock() throws(Objection) -> FileDescriptor? {
        guard RecordingName(finalName: lastPathComponent(path), in: "") != nil else {
            throw .foreign
        }
        guard let file = try open() else { return nil }
        if let objection = try objection(to: file) { throw objection }
        return file
    }

    private func open() throws(Objection) -> FileDescriptor? {
        do throws(SystemError) {
            return try FileDescriptor(opening: path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        } catch {
            guard error.code == ENOENT else { throw .system(error) }
            return nil
        }
    }

    private func objection(to file: borrowing FileDescriptor) throws(Objection) -> Objection? {
        do throws(SystemError) {
            let status = try file.status()
            guard status.st_mode & S_IFMT == S_IFREG, Int(status.st_size) == bytes else {
                return .changed(bytes: Int(status.st_size))
            }
            guard try file.tryExclusiveLock(), try !file.isLockedElsewhere() else {
                return .locked
            }
            return nil
        } catch {
            throw .system(error)
        }
    }

    /// Removes the file, once it was found as it was finished.
    ///
    /// - Returns: whether it was there.
    @discardableResult
    package func remove() throws(Objection) -> Bool {
        guard let lock = try lock() else { return false }
        do throws(SystemError) {
            try FileSystem.unlink(path)
        } catch {
            throw .system(error)
        }
        _ = consume lock
        return true
    }
}
