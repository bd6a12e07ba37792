import Glibc
package import Posix

/// A finalized file, as the catalogue lists it.
package struct StoredFile: Equatable, Sendable {
    package let path: String
    /// Its size when it was finalized.
    package let bytes: Int

    package init(path: String, bytes: Int) {
        (self.path, self.bytes) = (path, bytes)
    }

    /// Why the file must not be removed or converted.
    package enum RemovalError: Error, Equatable, CustomStringConvertible {
        /// A recorder does not give such names.
        case foreign
        case locked
        /// Its size has changed since it was finalized: another program works on it.
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

    /// Opens and locks the file, so that nothing else removes or converts it; `nil` if it is gone.
    package func lock() throws(RemovalError) -> FileDescriptor? {
        guard RecordingName(finalName: lastPathComponent(path), in: "") != nil else {
            throw .foreign
        }
        guard let file = try open() else { return nil }
        if let reason = try reasonToKeep(file) { throw reason }
        return file
    }

    private func open() throws(RemovalError) -> FileDescriptor? {
        do throws(SystemError) {
            return try FileDescriptor(opening: path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        } catch {
            guard error.code == ENOENT else { throw .system(error) }
            return nil
        }
    }

    private func reasonToKeep(_ file: borrowing FileDescriptor) throws(RemovalError)
        -> RemovalError?
    {
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

    /// Removes the file if it is as it was finalized; whether it was there.
    @discardableResult
    package func remove() throws(RemovalError) -> Bool {
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
