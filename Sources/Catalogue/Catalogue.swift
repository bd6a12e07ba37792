import Dispatch
import Glibc
package import Posix
import Synchronization

/// The durable list of all recordings, in SQLite; every call blocks, on any thread.
package final class Catalogue: Sendable {
    package static let inMemory = ":memory:"

    /// How SQLite keeps transactions: `wal` where the file system supports it.
    let journalMode: String
    /// Of the database's file; `nil` in memory.
    let path: String?
    /// What the names of the catalogue's files referred to when they were opened.
    private let files = Mutex<CatalogueFiles?>(nil)
    private let pool: ConnectionPool
    private let timeout: Duration
    /// One thread writes at a time: SQLite would make the others sleep and try again.
    private let writerLock = DispatchSemaphore(value: 0)
    private let observe: @Sendable (TransactionReport) -> Void

    /// Opens the file, creates it if it does not exist, and updates its schema.
    ///
    /// - Parameters:
    ///   - path: The database's file; its log is beside it. `inMemory` is a catalogue that ends with the process.
    ///   - poolSize: Connections, and so threads that work at the same time.
    ///   - timeout: How long a call waits for the writer lock, for a connection, and for another process's lock.
    ///   - observe: Called after each transaction, on its thread.
    /// - Throws: `.newerSchema`, or an error of SQLite: `.corrupt` for a file that is no database.
    package init(
        path: String,
        poolSize: Int = 4,
        timeout: Duration = .seconds(5),
        observe: @escaping @Sendable (TransactionReport) -> Void = { _ in }
    ) throws(CatalogueError) {
        // Each connection to memory would be a catalogue of its own.
        let isInMemory = path == Self.inMemory
        let connections = try Self.connect(path, isInMemory ? 1 : poolSize, busyTimeout: timeout)
        journalMode = connections[0].journalMode
        pool = ConnectionPool(connections)
        self.path = isInMemory ? nil : path
        self.timeout = timeout
        self.observe = observe
        if !isInMemory { files.withLock { $0 = CatalogueFiles(at: path) } }
        writerLock.signal()
    }

    /// Opens so many connections to the file at `path`, updates its schema, and checks it.
    static func connect(
        _ path: String,
        _ count: Int,
        busyTimeout: Duration
    ) throws(CatalogueError) -> [CatalogueConnection] {
        let first = try CatalogueConnection(path: path, busyTimeout: busyTimeout)
        var connections = [first]
        while connections.count < count {
            connections.append(try CatalogueConnection(path: path, busyTimeout: busyTimeout))
        }
        try CatalogueSchema.migrate(first)
        try first.check()
        return connections
    }

    /// Waits for the running calls and closes; see `ConnectionPool.close`.
    package func close(until deadline: BootTime) throws(CatalogueError) {
        try pool.close(until: deadline)
    }

    /// Borrows a connection, for work that the catalogue has no call for.
    func borrowConnection() throws(CatalogueError) -> BorrowedConnection {
        try pool.borrow(within: timeout)
    }

    /// Applies all changes in one transaction.
    package func apply(_ changes: [CatalogueChange]) throws(CatalogueError) {
        try transaction { (database) throws(CatalogueError) in
            for change in changes { try database.apply(change) }
        }
    }

    /// The recordings that are running, the oldest first.
    package func active() throws(CatalogueError) -> [CatalogueRecording] {
        try reading { (database) throws(CatalogueError) in
            // The second condition selects, the first makes SQLite use the partial index.
            try database.recordings(
                where: "status IN ('recording', 'abandoned') AND status = 'recording'"
            )
        }
    }

    /// The recordings of which there is a file, the oldest first.
    package func stored() throws(CatalogueError) -> [CatalogueRecording] {
        try reading { (database) throws(CatalogueError) in
            try database.recordings(
                where: "id IN (SELECT recording_id FROM parts WHERE status <> 'deleted')"
            )
        }
    }

    /// The largest id of a recording; 0 without any.
    func newestID() throws(CatalogueError) -> Int64 {
        try reading { (database) throws(CatalogueError) in try database.newestID() }
    }

    /// Runs `body`, which only reads; it waits for no writer.
    func reading<Result: Sendable>(
        _ body: (inout SQLiteDatabase) throws(CatalogueError) -> Result
    ) throws(CatalogueError) -> Result {
        try observed { (connection) throws(CatalogueError) in try connection.withDatabase(body) }
    }

    /// Runs `body` in a transaction; the time that is reported includes the wait for the writer lock.
    ///
    /// `body` uses only the database that it is given: a call of the catalogue would wait for itself.
    func transaction<Result: Sendable>(
        _ body: (inout SQLiteDatabase) throws(CatalogueError) -> Result
    ) throws(CatalogueError) -> Result {
        let start = BootTime.now()
        return try withWriterLock { () throws(CatalogueError) in
            try observed(since: start) { (connection) throws(CatalogueError) in
                try connection.transaction(body)
            }
        }
    }

    private func withWriterLock<Result>(
        _ body: () throws(CatalogueError) -> Result
    ) throws(CatalogueError) -> Result {
        let start = BootTime.now()
        guard writerLock.wait(timeout: .now() + timeout.forDispatch) == .success else {
            report(since: start, failure: CatalogueError.connectionPoolExhausted.reason)
            throw .connectionPoolExhausted
        }
        defer { writerLock.signal() }
        return try body()
    }

    private func observed<Result: Sendable>(
        since start: BootTime = .now(),
        _ body: (CatalogueConnection) throws(CatalogueError) -> Result
    ) throws(CatalogueError) -> Result {
        do throws(CatalogueError) {
            let borrowed = try pool.borrow(within: timeout)
            let result = try body(borrowed.connection)
            report(since: start, failure: nil)
            return result
        } catch {
            report(since: start, failure: error.reason)
            throw error
        }
    }

    private func report(since start: BootTime, failure: CatalogueError.Reason?) {
        let nanoseconds = BootTime.now().since(start).wholeNanoseconds
        observe(TransactionReport(nanoseconds: nanoseconds, failure: failure))
    }
}

/// One transaction, for the metrics.
package struct TransactionReport: Equatable, Sendable {
    package let nanoseconds: UInt64
    /// `nil` when it was committed.
    package let failure: CatalogueError.Reason?
}

/// The catalogue of a start, which always has one: of the configured file, of a new file, or in memory.
package struct OpenedCatalogue: Sendable {
    package let catalogue: Catalogue
    package let warning: CatalogueWarning?
}

/// Why a catalogue is not, or not fully, the one that is configured.
package enum CatalogueWarning: Equatable, CustomStringConvertible, Sendable {
    /// It was damaged, and moved to `movedTo`; a new one was created.
    case replaced(CatalogueError, movedTo: String)
    /// It cannot be used; changes are kept in memory, and lost with the process.
    case unusable(CatalogueError)
    /// It is used without a write-ahead log, which its file system does not allow: readers and writers wait for each other.
    case withoutLog(journalMode: String)

    /// `nil` for `wal`.
    init?(journalMode: String) {
        guard journalMode != "wal" else { return nil }
        self = .withoutLog(journalMode: journalMode)
    }

    package var error: CatalogueError {
        switch self {
        case .replaced(let error, _), .unusable(let error): error
        case .withoutLog: .database(.other, message: description)
        }
    }

    package var description: String {
        switch self {
        case .replaced(let error, let path): "\(error); moved to \(path)"
        case .unusable(let error): "\(error); kept in memory for this run"
        case .withoutLog(let mode):
            "journal mode \(mode), not wal: the file system, perhaps a network mount, does not share memory"
        }
    }
}

extension Catalogue {
    /// Opens the file at `path`, or a replacement: a failing catalogue must never prevent a recording.
    ///
    /// - Throws: only when there cannot even be one in memory.
    package static func openOrReplace(
        path: String,
        at now: UTCTime = UTCTime(.now()),
        observe: @escaping @Sendable (TransactionReport) -> Void = { _ in }
    ) throws(CatalogueError) -> OpenedCatalogue {
        let failure: CatalogueError
        do throws(CatalogueError) {
            let catalogue = try openReadable(path: path, observe: observe)
            let warning = CatalogueWarning(journalMode: catalogue.journalMode)
            return OpenedCatalogue(catalogue: catalogue, warning: warning)
        } catch {
            failure = error
        }
        if failure.reason == .corrupt, let newPath = moveAway(path, at: now),
            let catalogue = try? Catalogue(path: path, observe: observe)
        {
            let warning = CatalogueWarning.replaced(failure, movedTo: newPath)
            return OpenedCatalogue(catalogue: catalogue, warning: warning)
        }
        let catalogue = try Catalogue(path: inMemory, observe: observe)
        return OpenedCatalogue(catalogue: catalogue, warning: .unusable(failure))
    }

    /// Opens the file; damage that SQLite reports counts only if the disk can be read, and if it is reported again.
    ///
    /// SQLite turns an `EIO` of a read into "database disk image is malformed" (`SQLITE_IOERR_CORRUPTFS`).
    /// - Throws: `.io` for a disk that cannot be read.
    private static func openReadable(
        path: String,
        observe: @escaping @Sendable (TransactionReport) -> Void
    ) throws(CatalogueError) -> Catalogue {
        do throws(CatalogueError) {
            return try Catalogue(path: path, observe: observe)
        } catch {
            guard error.reason == .corrupt else { throw error }
        }
        do throws(SystemError) {
            for file in [path, "\(path)-wal"] { try readThrough(file) }
        } catch {
            throw .database(.io, message: error.description)
        }
        return try Catalogue(path: path, observe: observe)
    }

    /// Reads the file to its end, if it exists; only while no database is open, because closing a file drops its locks.
    private static func readThrough(_ path: String) throws(SystemError) {
        let chunk = 1 << 16
        do throws(SystemError) {
            let file = try FileDescriptor(opening: path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
            var offset = 0
            while try file.bytes(at: offset, count: chunk).count == chunk { offset += chunk }
        } catch {
            guard error.code == ENOENT else { throw error }
        }
    }

    /// Moves the database and its log away, for repair; the new path, or `nil` when that fails.
    private static func moveAway(_ path: String, at now: UTCTime) -> String? {
        let newPath = "\(path).damaged-\(now.compact)"
        // The log first: SQLite would apply it to a new database.
        for suffix in ["-wal", "-shm", ""] {
            do throws(SystemError) {
                try FileSystem.rename(path + suffix, to: newPath + suffix)
            } catch {
                guard error.code == ENOENT else { return nil }
            }
        }
        return newPath
    }
}

extension Catalogue {
    /// Opens the catalogue's files again if they were removed, moved or replaced, and keeps as much of the content as possible.
    ///
    /// A database that is gone is written again, from the file that is still open. One that was replaced is used as it is, and the
    /// recordings that are running are entered into it.
    /// - Returns: what had happened, `nil` for nothing.
    /// - Throws: why they cannot be opened again; until then the file that is still open is used.
    func checkFiles(at now: UTCTime = UTCTime(.now())) throws(CatalogueError) -> CatalogueLoss? {
        guard let known = files.withLock({ $0 }), let path, let loss = known.loss() else {
            return nil
        }
        try withWriterLock { () throws(CatalogueError) in
            try pool.reopen(within: timeout) { (open) throws(CatalogueError) in
                // Completes the file itself, which may only have been moved.
                try? open.first?.checkpoint(within: .zero)
                if loss == .log {
                    // Connections to the same file share the index of its log: all are closed before one is opened.
                    for connection in open { connection.close() }
                    return try Self.connect(path, open.count, busyTimeout: timeout)
                }
                let new = try Self.replace(open, known, path, busyTimeout: timeout, at: now)
                for connection in open { connection.discard() }
                return new
            }
        }
        files.withLock { $0 = CatalogueFiles(at: path) }
        return loss
    }

    /// Opens connections to the database that has taken the path, or to a copy of the one that is open.
    private static func replace(
        _ open: [CatalogueConnection],
        _ known: CatalogueFiles,
        _ path: String,
        busyTimeout: Duration,
        at now: UTCTime
    ) throws(CatalogueError) -> [CatalogueConnection] {
        try? FileSystem.makeParentDirectory(of: path)
        // Where nothing can be opened, the database may come back to its log.
        _ = try CatalogueFiles.resolve(path)
        known.removeLog()
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
            try database.rowsOfRunningRecordings()
        }
        if let rows {
            try new[0].transaction { (database) throws(CatalogueError) in
                try database.insert(rows)
            }
        }
        return new
    }

    /// Writes the open database to `path`, where there is no file; whether that succeeded.
    ///
    /// First under a random name: a kill must not leave half a database under the catalogue's name.
    private static func copy(_ open: [CatalogueConnection], to path: String) -> Bool {
        guard let plain = try? CatalogueFiles.resolve(path) else { return false }
        let draft = "\(plain).copy-\(String(UInt64.random(in: 0 ... .max), radix: 16))"
        defer { try? FileSystem.unlink(draft) }
        do {
            try open.first?.withDatabase { (database) throws(CatalogueError) in
                _ = try database.run("VACUUM INTO ?", [.text(draft)])
            }
            do throws(SystemError) {
                try FileSystem.link(draft, to: plain)
            } catch {
                // Some file systems have no links.
                guard error.code != EEXIST else { throw error }
                try FileSystem.rename(draft, to: plain)
            }
            return true
        } catch {
            return false
        }
    }
}

/// Rows of one table.
private struct TableRows: Sendable {
    let table: String
    let rows: [[SQLiteValue]]
}

extension SQLiteDatabase {
    /// All rows of the recordings that are running.
    fileprivate mutating func rowsOfRunningRecordings() throws(CatalogueError) -> [TableRows] {
        let ids = "(SELECT id FROM recordings WHERE status = 'recording')"
        var tables: [TableRows] = []
        for (table, column) in [
            ("recordings", "id"), ("parts", "recording_id"), ("jobs", "recording_id"),
        ] {
            let rows = try run("SELECT * FROM \(table) WHERE \(column) IN \(ids)")
            tables.append(TableRows(table: table, rows: rows))
        }
        return tables
    }

    /// Inserts rows of a database with the same schema; they replace those with the same keys.
    fileprivate mutating func insert(_ tables: [TableRows]) throws(CatalogueError) {
        for one in tables {
            for row in one.rows {
                let values = row.map { _ in "?" }.joined(separator: ", ")
                try run("INSERT OR REPLACE INTO \(one.table) VALUES (\(values))", row)
            }
        }
    }
}

/// Ids of delivered messages, so that a second delivery is recognized, even after a restart.
extension Catalogue {
    /// How long an id is kept: well beyond the ten minutes in which EventSub's deliveries are valid.
    static let seenMessageAge = Duration.seconds(3600)
    /// Ids that are kept; beyond, the oldest are removed.
    static let maxSeenMessages = 10_000

    /// Enters the message and checks, in one step, whether it was there.
    ///
    /// - Returns: whether it is new.
    package func remember(messageID: String, at now: WallTime = .now()) throws(CatalogueError)
        -> Bool
    {
        try transaction { (database) throws(CatalogueError) in
            try database.insert(messageID, seenAt: UTCTime(now).seconds)
        }
    }
}

extension SQLiteDatabase {
    fileprivate mutating func insert(
        _ messageID: String,
        seenAt now: Int
    ) throws(CatalogueError) -> Bool {
        let oldest = now - Int(Catalogue.seenMessageAge.inSeconds)
        try run("DELETE FROM seen_messages WHERE seen_at < ?", [.integer(Int64(oldest))])
        try run(
            "INSERT INTO seen_messages (id, seen_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
            [.text(messageID), .integer(Int64(now))]
        )
        guard changedRows == 1 else { return false }
        try run(
            """
            DELETE FROM seen_messages WHERE id IN (
                SELECT id FROM seen_messages ORDER BY seen_at DESC, id LIMIT -1 OFFSET ?
            )
            """,
            [.integer(Int64(Catalogue.maxSeenMessages))]
        )
        return true
    }
}
