import Glibc
import Media
import Posix

/// What happened to a catalogue's files while they were open; the raw value is the label of the metric.
package enum CatalogueLoss: String, CaseIterable, Sendable {
    /// The database was removed or moved.
    case removed
    /// Another file has the database's name.
    case replaced
    /// The database is in its place, its write-ahead log or that log's index is not.
    case log
}

/// Which files the three names of a catalogue refer to: the database, its write-ahead log, and the log's index.
struct CatalogueFiles: Sendable {
    private static let suffixes = ["", "-wal", "-shm"]

    private struct Identity: Equatable, Sendable {
        let device: dev_t
        let number: ino_t
    }

    private let path: String
    /// By suffix; only those that exist.
    private var identities: [String: Identity] = [:]

    /// Reads which files exist now.
    init(at path: String) {
        self.path = path
        for suffix in Self.suffixes {
            identities[suffix] = (try? Self.identity(of: path + suffix)) ?? nil
        }
    }

    /// Whether there was no database.
    var isEmpty: Bool { identities[""] == nil }

    /// What has happened to them since; `nil` for nothing, and when the file system does not answer.
    func loss() -> CatalogueLoss? {
        do throws(SystemError) {
            let database = try Self.identity(of: path)
            guard database == identities[""] else { return database == nil ? .removed : .replaced }
            for (suffix, identity) in identities
            where try Self.identity(of: path + suffix) != identity { return .log }
            return nil
        } catch {
            return nil
        }
    }

    /// Removes the log and its index if they are still the same files: SQLite would apply them to another database.
    func removeLog() {
        for suffix in Self.suffixes.dropFirst() {
            guard let identity = identities[suffix],
                (try? Self.identity(of: path + suffix)) == identity
            else { continue }
            try? FileSystem.unlink(path + suffix)
        }
    }

    private static func identity(of path: String) throws(SystemError) -> Identity? {
        try linkStatus(of: path).map { Identity(device: $0.st_dev, number: $0.st_ino) }
    }

    private static func linkStatus(of path: String) throws(SystemError) -> stat? {
        do throws(SystemError) {
            return try FileSystem.linkStatus(of: path)
        } catch {
            guard error.code == ENOENT || error.code == ENOTDIR else { throw error }
            return nil
        }
    }

    /// The path of the database without symbolic links in its directory, as `SQLITE_OPEN_NOFOLLOW` requires.
    ///
    /// - Throws: `.io` if one of the three names is not a regular file: SQLite would write to the target of a symbolic link, and wait
    ///   for ever for a FIFO.
    static func resolve(_ path: String) throws(CatalogueError) -> String {
        do throws(SystemError) {
            let slash = path.lastIndex(of: "/")
            let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
            let plain = try "\(FileSystem.resolved(directory))/\(lastPathComponent(path))"
            for suffix in suffixes {
                guard let mode = try linkStatus(of: plain + suffix)?.st_mode else { continue }
                guard mode & S_IFMT != S_IFLNK else {
                    throw SystemError(
                        call: "\(path)\(suffix) is a symbolic link: open",
                        code: ELOOP
                    )
                }
                guard mode & S_IFMT == S_IFREG else {
                    throw SystemError(
                        call: "\(path)\(suffix) is not a regular file: open",
                        code: EINVAL
                    )
                }
            }
            return plain
        } catch {
            throw .database(.io, message: error.description)
        }
    }
}
