import Posix
import Synchronization

/// One connection to the catalogue's file; calls of several threads take turns.
final class CatalogueConnection: Sendable {
    /// How SQLite keeps transactions: `wal` where the file system can.
    let journalMode: String
    private let database: Mutex<SQLiteDatabase?>

    /// Opens the file and prepares the connection: write-ahead log, every commit on the disk.
    init(path: String, busyTimeout: Duration) throws(CatalogueError) {
        var opened = try SQLiteDatabase(path: path)
        opened.setBusyTimeout(busyTimeout)
        try CatalogueSchema.version(of: &opened)  // A newer recorder's file is not changed.
        // Where no memory can be shared, as on many network mounts, it stays as it was, without an error.
        journalMode = try opened.run("PRAGMA journal_mode = WAL").first?.first?.asText ?? "unknown"
        // A commit is rare here, a few for each recording: worth waiting for the disk.
        try opened.run("PRAGMA synchronous = FULL")
        try opened.run("PRAGMA foreign_keys = ON")
        opened.setBusyTimeout(.zero)
        try Self.checkWritable(&opened)
        opened.setBusyTimeout(busyTimeout)
        database = Mutex(opened)
    }

    /// Where a file cannot be opened for writing, SQLite opens it for reading, and says nothing.
    private static func checkWritable(_ database: inout SQLiteDatabase) throws(CatalogueError) {
        guard !database.isReadOnly else {
            throw .database(.readonly, message: "it could be opened for reading only")
        }
        do throws(CatalogueError) {
            // The log is a file of its own.
            try database.run("BEGIN IMMEDIATE")
            try database.run("ROLLBACK")
        } catch {
            // Another program writes: it is busy, and can be written.
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

    /// Runs `body` in a transaction that is written whole or not at all.
    func transaction<Result: Sendable>(
        _ body: (inout SQLiteDatabase) throws(CatalogueError) -> Result
    ) throws(CatalogueError) -> Result {
        try withDatabase { (database) throws(CatalogueError) in
            // Immediate: to wait for the lock here, where SQLite can, and not in the middle.
            try database.run("BEGIN IMMEDIATE")
            do throws(CatalogueError) {
                let result = try body(&database)
                try database.run("COMMIT")
                return result
            } catch {
                // After some errors SQLite has rolled back already, and this one fails.
                _ = try? database.run("ROLLBACK")
                throw error
            }
        }
    }

    /// Reads the whole file for damage, but not whether each index agrees with its table: that takes longer.
    ///
    /// - Throws: `.corrupt` with the first thing that is wrong.
    func check() throws(CatalogueError) {
        try withDatabase { (database) throws(CatalogueError) in
            let findings = try database.run("PRAGMA quick_check(1)").first?.first?.asText
            guard findings == "ok" else {
                throw .database(.corrupt, message: findings ?? "no answer to a check")
            }
        }
    }

    /// Moves the write-ahead log into the file, as far as other programs' reading allows.
    func checkpoint(within timeout: Duration) throws(CatalogueError) {
        try withDatabase { (database) throws(CatalogueError) in
            database.setBusyTimeout(timeout)
            // A connection that has read nothing yet finds itself busy, and waits in vain.
            try database.run("SELECT 1 FROM sqlite_schema")
            try database.run("PRAGMA wal_checkpoint(TRUNCATE)")
        }
    }

    /// Closes the database; later calls fail as `.closed`.
    func close() {
        database.withLock { $0 = nil }
    }

    /// Closes the database, and touches no file: another one has its name.
    func discard() {
        database.withLock { database in
            database?.keepLog()
            database = nil
        }
    }
}
