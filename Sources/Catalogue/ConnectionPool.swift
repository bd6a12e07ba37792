import Dispatch
import Posix
import Synchronization

/// A fixed number of connections that threads borrow and return.
final class ConnectionPool: Sendable {
    private struct Contents {
        var idle: [CatalogueConnection]
        var state = State.open
    }

    private enum State {
        case open
        /// Nobody may borrow; `close` waits for the borrowed connections.
        case closing
        /// A connection that is returned is closed at once.
        case closed
    }

    private let size: Int
    private let contents: Mutex<Contents>
    /// Counts the idle connections.
    private let available: DispatchSemaphore

    init(_ connections: [CatalogueConnection]) {
        size = connections.count
        contents = Mutex(Contents(idle: connections))
        // From 0 up: Dispatch traps when a semaphore is destroyed with a lower count than it was created with.
        available = DispatchSemaphore(value: 0)
        for _ in connections { available.signal() }
    }

    /// Waits for an idle connection; the borrowed value returns it when it is destroyed.
    ///
    /// - Throws: `.connectionPoolExhausted` after `timeout`, `.closed` once `close` has been called.
    func borrow(within timeout: Duration) throws(CatalogueError) -> BorrowedConnection {
        guard available.wait(timeout: .now() + timeout.forDispatch) == .success else {
            throw isOpen ? .connectionPoolExhausted : .closed
        }
        let connection = contents.withLock { contents in
            contents.state == .open ? contents.idle.popLast() : nil
        }
        guard let connection else {
            available.signal()  // For `close`, or for the next caller that is refused.
            throw .closed
        }
        return BorrowedConnection(connection, of: self)
    }

    private var isOpen: Bool { contents.withLock { $0.state == .open } }

    fileprivate func giveBack(_ connection: CatalogueConnection) {
        let isTooLate = contents.withLock { contents in
            if contents.state != .closed { contents.idle.append(connection) }
            return contents.state == .closed
        }
        if isTooLate { connection.close() }
        available.signal()
    }

    /// Replaces all connections by those that `body` opens; meanwhile none can be borrowed.
    ///
    /// - Throws: `.connectionPoolExhausted` when one is not returned in time, `.closed` once `close` has been called.
    func reopen(
        within timeout: Duration,
        _ body: ([CatalogueConnection]) throws(CatalogueError) -> [CatalogueConnection]
    ) throws(CatalogueError) {
        let count = acquire(until: BootTime.now().advanced(by: timeout))
        defer { release(count) }
        guard count == size else { throw isOpen ? .connectionPoolExhausted : .closed }
        let open = contents.withLock { $0.state == .open ? $0.idle : [] }
        guard open.count == size else { throw .closed }
        let new = try body(open)
        let isTooLate = contents.withLock { contents in
            if contents.state == .open { contents.idle = new }
            return contents.state != .open
        }
        if isTooLate { for connection in new { connection.close() } }
    }

    /// Refuses new borrowers, waits for the borrowed connections, writes the log back and closes.
    ///
    /// Nothing that was committed depends on it: the log is read at the next start. A second call does nothing.
    /// - Throws: `.connectionPoolExhausted` when one is not returned by `deadline`: the others are closed,
    ///   and that one when it is returned.
    func close(until deadline: BootTime) throws(CatalogueError) {
        let isFirst = contents.withLock { contents in
            guard contents.state == .open else { return false }
            contents.state = .closing
            return true
        }
        guard isFirst else { return }
        let count = acquire(until: deadline)
        if count == size { release(count) }
        let connections = contents.withLock { contents in
            contents.state = .closed
            defer { contents.idle = [] }
            return contents.idle
        }
        for connection in connections.dropFirst() { connection.close() }
        defer { connections.first?.close() }
        guard count == size else { throw .connectionPoolExhausted }
        // Another program that reads delays the checkpoint: wait for it at most a second.
        try connections.first?.checkpoint(within: min(.seconds(1), deadline.since(.now())))
    }

    /// Waits until all connections are idle, and keeps them from being borrowed; how many of them by `deadline`.
    private func acquire(until deadline: BootTime) -> Int {
        for count in 0..<size {
            let left = deadline.since(.now()).forDispatch
            guard available.wait(timeout: .now() + left) == .success else { return count }
        }
        return size
    }

    private func release(_ count: Int) {
        for _ in 0..<count { available.signal() }
    }
}

/// A borrowed connection; it is returned when this value is destroyed.
struct BorrowedConnection: ~Copyable, Sendable {
    let connection: CatalogueConnection
    private let pool: ConnectionPool

    fileprivate init(_ connection: CatalogueConnection, of pool: ConnectionPool) {
        (self.connection, self.pool) = (connection, pool)
    }

    deinit { pool.giveBack(connection) }
}

/// One connection to the catalogue's file; one thread at a time uses it.
final class CatalogueConnection: Sendable {
    /// How SQLite keeps transactions: `wal` where the file system supports it.
    let journalMode: String
    private let database: Mutex<SQLiteDatabase?>

    /// Opens the file and prepares the connection: write-ahead log, every commit synced.
    init(path: String, busyTimeout: Duration) throws(CatalogueError) {
        var opened = try SQLiteDatabase(path: path)
        opened.setBusyTimeout(busyTimeout)
        try CatalogueSchema.version(of: &opened)  // A newer recorder's file is not changed.
        // Where memory cannot be shared, as on many network mounts, the mode stays as it was, without an error.
        journalMode = try opened.run("PRAGMA journal_mode = WAL").first?.first?.asText ?? "unknown"
        // There are only a few commits for each recording: worth waiting for the disk.
        try opened.run("PRAGMA synchronous = FULL")
        try opened.run("PRAGMA foreign_keys = ON")
        opened.setBusyTimeout(.zero)
        try Self.checkWritable(&opened)
        opened.setBusyTimeout(busyTimeout)
        database = Mutex(opened)
    }

    /// SQLite opens a file that cannot be written for reading only, without an error.
    private static func checkWritable(_ database: inout SQLiteDatabase) throws(CatalogueError) {
        guard !database.isReadOnly else {
            throw .database(.readonly, message: "it could be opened for reading only")
        }
        do throws(CatalogueError) {
            // The log is another file.
            try database.run("BEGIN IMMEDIATE")
            try database.run("ROLLBACK")
        } catch {
            // Busy: another program writes to it, so it can be written.
            guard error.reason == .busy else { throw error }
        }
    }

    /// Runs `body` on the database.
    func withDatabase<Result: Sendable>(
        _ body: (inout SQLiteDatabase) throws(CatalogueError) -> Result
    ) throws(CatalogueError) -> Result {
        try database.withLock { (slot) throws(CatalogueError) in
            guard var database = slot.take() else { throw .closed }
            do throws(CatalogueError) {
                let result = try body(&database)
                slot = consume database
                return result
            } catch {
                slot = consume database
                throw error
            }
        }
    }

    /// Runs `body` in a transaction, which is written completely or not at all.
    func transaction<Result: Sendable>(
        _ body: (inout SQLiteDatabase) throws(CatalogueError) -> Result
    ) throws(CatalogueError) -> Result {
        try withDatabase { (database) throws(CatalogueError) in
            // Immediate, to wait for the lock here: in the middle of a transaction SQLite cannot wait.
            try database.run("BEGIN IMMEDIATE")
            do throws(CatalogueError) {
                let result = try body(&database)
                try database.run("COMMIT")
                return result
            } catch {
                // After some errors SQLite has rolled back already, and this fails.
                _ = try? database.run("ROLLBACK")
                throw error
            }
        }
    }

    /// Checks the complete file for damage, but not whether each index agrees with its table: that takes longer.
    ///
    /// - Throws: `.corrupt` with the first finding.
    func check() throws(CatalogueError) {
        try withDatabase { (database) throws(CatalogueError) in
            let findings = try database.run("PRAGMA quick_check(1)").first?.first?.asText
            guard findings == "ok" else {
                throw .database(.corrupt, message: findings ?? "no answer to a check")
            }
        }
    }

    /// Moves the write-ahead log into the file, as far as other programs that read allow it.
    func checkpoint(within timeout: Duration) throws(CatalogueError) {
        try withDatabase { (database) throws(CatalogueError) in
            database.setBusyTimeout(timeout)
            // A connection that has read nothing yet finds itself busy, and waits in vain.
            try database.run("SELECT 1 FROM sqlite_schema")
            try database.run("PRAGMA wal_checkpoint(TRUNCATE)")
        }
    }

    /// Closes the database; later calls throw `.closed`.
    func close() {
        database.withLock { $0 = nil }
    }

    /// Closes the database, and removes no file: another database has its name.
    func discard() {
        database.withLock { database in
            database?.keepLog()
            database = nil
        }
    }
}

extension Duration {
    var forDispatch: DispatchTimeInterval {
        .nanoseconds(Int(clamping: wholeNanoseconds))
    }
}
