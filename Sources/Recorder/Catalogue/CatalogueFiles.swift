import Glibc
import Media
import Posix
import Synchronization

/// What happened to a catalogue's files while they were open; the raw value is the label of the metric.
enum CatalogueLoss: String, CaseIterable, Sendable {
    /// The database was removed or moved.
    case removed
    /// Another file has the database's name.
    case replaced
    /// The database is in its place, its write-ahead log or that log's index is not.
    case log
}

/// Which files the three names of a catalogue refer to: the database, its write-ahead log, and the log's index.
struct CatalogueFiles: Sendable {
    static let suffixes = ["", "-wal", "-shm"]

    private struct Identity: Equatable, Sendable {
        let device: dev_t
        let number: ino_t
    }

    private let path: String
    /// By suffix, those that were there.
    private var identities: [String: Identity] = [:]

    /// Notes the files that are there now.
    init(at path: String) {
        self.path = path
        for suffix in Self.suffixes {
            identities[suffix] = (try? Self.identity(of: path + suffix)) ?? nil
        }
    }

    /// Whether no database is there.
    var isEmpty: Bool { identities[""] == nil }

    /// What has happened since; `nil` when nothing has, or the file system does not say.
    func loss() -> CatalogueLoss? {
        do throws(SystemError) {
            let database = try Self.identity(of: path)
            guard database == identities[""] else { return database == nil ? .removed : .replaced }
            for (suffix, identity) in identities
            where try Self.identity(of: path + suffix) != identity {
                return .log
            }
            return nil
        } catch {
            return nil
        }
    }

    /// Removes the log and its index where these are still the files that were there: beside another database, SQLite would
    /// take them for its own.
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

    /// The path of the database with no symbolic link in its directory, as SQLite wants it when it is to follow none.
    ///
    /// - Throws: `.io` when one of the three names is a symbolic link, a FIFO or anything else but a regular file: somebody has planted it,
    ///   SQLite would write to where it leads, or wait for ever.
    static func plainPath(_ path: String) throws(CatalogueError) -> String {
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

extension Catalogue {
    /// Opens the catalogue's files again if they were removed, moved or replaced; all that was entered is kept as far as it can be.
    ///
    /// A database that is gone is written again, from the file that is still open. One that was replaced is used as it is, and the
    /// recordings under way are entered into it.
    /// - Returns: what had happened, `nil` when nothing had.
    /// - Throws: why they cannot be opened again; the file that is open is used until that succeeds.
    func checkFiles(at now: UTCTime = UTCTime(.now())) throws(CatalogueError) -> CatalogueLoss? {
        guard let known = files.withLock({ $0 }), let path, let loss = known.loss() else {
            return nil
        }
        try asWriter { () throws(CatalogueError) in
            try pool.reopen(within: timeout) { (open) throws(CatalogueError) in
                // Whatever the name refers to now, the file that was moved away is complete then.
                try? open.first?.checkpoint(within: .zero)
                if loss == .log {
                    // Connections to the same file share the index of its log: none may be open beside a new one.
                    for connection in open { connection.close() }
                    return try Self.connect(path, open.count, busyTimeout: timeout)
                }
                known.removeLog()
                let new = try Self.replace(open, path, busyTimeout: timeout, at: now)
                for connection in open { connection.discard() }
                return new
            }
        }
        files.withLock { $0 = CatalogueFiles(at: path) }
        return loss
    }

    /// Opens connections to what stands at `path`, or to a copy of what is open.
    private static func replace(
        _ open: [CatalogueConnection],
        _ path: String,
        busyTimeout: Duration,
        at now: UTCTime
    ) throws(CatalogueError) -> [CatalogueConnection] {
        try? FileSystem.makeParentDirectory(of: path)
        if CatalogueFiles(at: path).isEmpty, copy(open, to: path) {
            return try connect(path, open.count, busyTimeout: busyTimeout)
        }
        let new: [CatalogueConnection]
        do throws(CatalogueError) {
            new = try connect(path, open.count, busyTimeout: busyTimeout)
        } catch {
            guard error.reason == .corrupt, moveAway(path, at: now) != nil, copy(open, to: path)
            else { throw error }
            return try connect(path, open.count, busyTimeout: busyTimeout)
        }
        let rows = try? open.first?.withDatabase { (database) throws(CatalogueError) in
            try database.rowsOfOpenRecordings()
        }
        if let rows {
            try new[0].transaction { (database) throws(CatalogueError) in
                try database.insert(rows)
            }
        }
        return new
    }

    /// Writes the open database to `path`, where no file is; whether that succeeded.
    ///
    /// To another name first, which nobody can foresee: a kill leaves no half of a database under the catalogue's name.
    private static func copy(_ open: [CatalogueConnection], to path: String) -> Bool {
        guard let plain = try? CatalogueFiles.plainPath(path) else { return false }
        let draft = "\(plain).copy-\(String(UInt64.random(in: 0 ... .max), radix: 16))"
        defer { try? FileSystem.unlink(draft) }
        do {
            try open.first?.withDatabase { (database) throws(CatalogueError) in
                _ = try database.run("VACUUM INTO ?", [.text(draft)])
            }
            do throws(SystemError) {
                try FileSystem.link(draft, to: plain)
            } catch {
                // File systems without links.
                guard error.code != EEXIST else { throw error }
                try FileSystem.rename(draft, to: plain)
            }
            return true
        } catch {
            return false
        }
    }
}

/// The rows of a table.
struct CatalogueTable: Sendable {
    let name: String
    let rows: [[SQLiteValue]]
}

extension SQLiteDatabase {
    /// All rows of the recordings under way.
    fileprivate mutating func rowsOfOpenRecordings() throws(CatalogueError) -> [CatalogueTable] {
        let ids = "(SELECT id FROM recordings WHERE status = 'recording')"
        var tables: [CatalogueTable] = []
        for (name, column) in [
            ("recordings", "id"), ("parts", "recording_id"), ("jobs", "recording_id"),
        ] {
            let rows = try run("SELECT * FROM \(name) WHERE \(column) IN \(ids)")
            tables.append(CatalogueTable(name: name, rows: rows))
        }
        return tables
    }

    /// Inserts rows of a database with the same schema, in place of those with the same keys.
    fileprivate mutating func insert(_ tables: [CatalogueTable]) throws(CatalogueError) {
        for table in tables {
            for row in table.rows {
                let places = row.map { _ in "?" }.joined(separator: ", ")
                try run("INSERT OR REPLACE INTO \(table.name) VALUES (\(places))", row)
            }
        }
    }
}
