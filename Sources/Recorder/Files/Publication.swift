import Glibc
import Posix

extension RecordingName {
    /// Gives the whole and synced file at `partPath` a final name that no file has, and takes the part's name away.
    ///
    /// By `link(2)`, `fsync(2)` of the directory, `unlink(2)`, in this order. `rename(2)` would replace a file of that name,
    /// and a placeholder made first to reserve it would be a false recording after a crash. A crash between these steps
    /// leaves both names on the one whole file; the next attempt sees that and goes on. After the directory's sync the final
    /// name survives a power cut, and a part's name that comes back with one is again the former case.
    ///
    /// - Returns: the final path, with a number in it when the plain one is taken.
    func publish() throws(SystemError) -> String {
        for number in 1...Self.mostAlternatives {
            let path = alternative(number).finalPath
            guard try claim(path) else { continue }
            try synchronizeNames()
            try FileSystem.unlink(partPath)
            return path
        }
        throw SystemError(call: "link \(finalPath)", code: EEXIST)
    }

    private func synchronizeNames() throws(SystemError) {
        do throws(SystemError) {
            try FileSystem.synchronizeDirectory(directory)
        } catch {
            // Some network mounts cannot sync a directory, and say so; nothing more can be done there.
            guard error.code == EINVAL || error.code == EOPNOTSUPP else { throw error }
        }
    }

    /// Gives the part the name `path`; `false` when another file has it.
    private func claim(_ path: String) throws(SystemError) -> Bool {
        do throws(SystemError) {
            try FileSystem.link(partPath, to: path)
            return true
        } catch {
            switch error.code {
            case EEXIST: return try isSameFile(path)
            case EPERM, EOPNOTSUPP, ENOSYS, EMLINK: return try rename(to: path)
            default: throw error
            }
        }
    }

    private func isSameFile(_ path: String) throws(SystemError) -> Bool {
        let (part, other) = (try FileSystem.status(of: partPath), try FileSystem.status(of: path))
        return part.st_ino == other.st_ino && part.st_dev == other.st_dev
    }

    /// The way of file systems without links (exFAT, some network mounts): look, then rename.
    ///
    /// Between the two steps only a program that is no recorder could take the name: recorders hold the part's lock.
    private func rename(to path: String) throws(SystemError) -> Bool {
        do throws(SystemError) {
            _ = try FileSystem.status(of: path)
            return false
        } catch {
            guard error.code == ENOENT else { throw error }
        }
        try FileSystem.rename(partPath, to: path)
        return true
    }
}
