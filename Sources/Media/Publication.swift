import Glibc
package import Posix

extension RecordingName {
    /// Gives the whole and synced file at `partPath`, or at `draft`, a final name that no file has, and takes the other away.
    ///
    /// By `link(2)`, `fsync(2)` of the directory, `unlink(2)`, in this order. `rename(2)` would replace a file of that name,
    /// and a placeholder made first to reserve it would be a false recording after a crash. A crash between these steps
    /// leaves both names on the one whole file; the next attempt sees that and goes on. After the directory's sync the final
    /// name survives a power cut, and a part's name that comes back with one is again the former case.
    ///
    /// - Returns: the final path, with a number in it when the plain one is taken.
    package func publish(
        _ draft: String? = nil,
        as newPath: (RecordingName) -> String = { $0.finalPath }
    ) throws(SystemError) -> String {
        let draft = draft ?? partPath
        for number in 1...Self.mostAlternatives {
            let path = newPath(alternative(number))
            guard try claim(path, for: draft) else { continue }
            try synchronizeDirectory()
            try FileSystem.unlink(draft)
            return path
        }
        throw SystemError(call: "link \(newPath(self))", code: EEXIST)
    }

    /// Makes sure that the names in the directory are on the disk.
    func synchronizeDirectory() throws(SystemError) {
        do throws(SystemError) {
            try FileSystem.synchronizeDirectory(directory)
        } catch {
            // Some network mounts cannot sync a directory, and say so; nothing more can be done there.
            guard error.code == EINVAL || error.code == EOPNOTSUPP else { throw error }
        }
    }

    /// Gives the draft the name `path`; `false` when another file has it.
    private func claim(_ path: String, for draft: String) throws(SystemError) -> Bool {
        do throws(SystemError) {
            try FileSystem.link(draft, to: path)
            return true
        } catch {
            switch error.code {
            case EEXIST: return try isSameFile(path, draft)
            case EPERM, EOPNOTSUPP, ENOSYS, EMLINK: return try rename(draft, to: path)
            default: throw error
            }
        }
    }

    /// A symbolic link is another file, whatever it refers to: its draft is about to be unlinked.
    private func isSameFile(_ path: String, _ draft: String) throws(SystemError) -> Bool {
        let one = try FileSystem.linkStatus(of: path)
        let other = try FileSystem.linkStatus(of: draft)
        return one.st_ino == other.st_ino && one.st_dev == other.st_dev
    }

    /// The way of file systems without links (exFAT, some network mounts): look, then rename.
    ///
    /// Between the two steps only a program that is no recorder could take the name: recorders hold the part's lock.
    private func rename(_ draft: String, to path: String) throws(SystemError) -> Bool {
        do throws(SystemError) {
            _ = try FileSystem.linkStatus(of: path)
            return false
        } catch {
            guard error.code == ENOENT else { throw error }
        }
        try FileSystem.rename(draft, to: path)
        return true
    }
}
