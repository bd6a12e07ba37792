import Glibc
package import Posix

extension PartFile {
    /// Makes a new file, such as `STREAM-20261123T104500Z.ts.part`, and locks it; a number is added when the name is taken.
    ///
    /// Its name is on the disk then: a power cut would otherwise take the media with it, however often that was synced.
    /// - Throws: `EWOULDBLOCK` when another program locks the new file first; `EEXIST` when all names are taken.
    package static func create(
        _ plain: RecordingName,
        syncInterval: Duration,
        now: BootTime = .now()
    ) throws(SystemError) -> PartFile {
        for number in 1...RecordingName.mostAlternatives {
            let name = plain.alternative(number)
            guard try !isTaken(name.finalPath), let file = try open(name) else { continue }
            do throws(SystemError) {
                try name.synchronizeDirectory()
            } catch {
                try? FileSystem.unlink(name.partPath)
                throw error
            }
            return PartFile(adopting: file, name: name, syncInterval: syncInterval, now: now)
        }
        throw SystemError(call: "open \(plain.partPath)", code: EEXIST)
    }

    private static func isTaken(_ path: String) throws(SystemError) -> Bool {
        do throws(SystemError) {
            _ = try FileSystem.linkStatus(of: path)
            return true
        } catch {
            guard error.code == ENOENT else { throw error }
            return false
        }
    }

    /// Makes and locks the file; `nil` when the name is taken.
    private static func open(_ name: RecordingName) throws(SystemError) -> FileDescriptor? {
        let file: FileDescriptor
        do throws(SystemError) {
            // Appending, so that a cut moves the place of the next write too.
            let flags = O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW
            file = try FileDescriptor(opening: name.partPath, flags)
        } catch {
            guard error.code == EEXIST else { throw error }
            return nil
        }
        guard try lock(file, made: name.partPath) else {
            throw SystemError(call: "flock \(name.partPath)", code: EWOULDBLOCK)
        }
        return file
    }

    /// Locks the new file; where that fails, nothing is left of it, or every attempt would leave another empty one.
    private static func lock(
        _ file: borrowing FileDescriptor,
        made path: String
    ) throws(SystemError) -> Bool {
        do throws(SystemError) {
            return try file.tryExclusiveLock()
        } catch {
            try? FileSystem.unlink(path)
            throw error
        }
    }
}
