import CSQLite
import Posix

/// Owns an open database and its prepared statements; used by one thread at a time.
@safe struct SQLiteDatabase: ~Copyable {
    private let handle: OpaquePointer
    /// Statements by their SQL, made at first use and kept.
    private var statements: [String: OpaquePointer]

    /// Opens the file at `path`, and makes it when it is not there; never through a symbolic link.
    init(path: String) throws(CatalogueError) {
        var opened: OpaquePointer?
        // The owner keeps other threads out, so SQLite's own mutex is not needed.
        let flags =
            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX
            | SQLITE_OPEN_NOFOLLOW
        let path = path == Catalogue.inMemory ? path : try CatalogueFiles.plainPath(path)
        let code = unsafe sqlite3_open_v2(path, &opened, flags, nil)
        guard code == SQLITE_OK, let handle = unsafe opened else {
            let error = unsafe CatalogueError(code: code, handle: opened)
            unsafe sqlite3_close_v2(opened)  // Also after a failure there is a handle to close.
            throw error
        }
        unsafe sqlite3_extended_result_codes(handle, 1)
        unsafe (self.handle, statements) = (handle, [:])
    }

    deinit {
        for unsafe(_, statement) in unsafe statements { unsafe sqlite3_finalize(statement) }
        unsafe sqlite3_close_v2(handle)
    }

    /// How long a statement waits for another connection's lock before it fails as busy.
    func setBusyTimeout(_ timeout: Duration) {
        let milliseconds = CInt(clamping: timeout.wholeNanoseconds / 1_000_000)
        unsafe sqlite3_busy_timeout(handle, milliseconds)
    }

    /// Leaves the write-ahead log when it is closed: its name is another file's.
    func keepLog() { _ = unsafe streamvault_sqlite3_keep_log(handle) }

    /// Whether its file could be opened for reading only.
    var isReadOnly: Bool { unsafe sqlite3_db_readonly(handle, "main") == 1 }

    /// Rows that the last statement changed.
    var changedRows: Int64 { unsafe sqlite3_changes64(handle) }

    var lastInsertedID: Int64 { unsafe sqlite3_last_insert_rowid(handle) }

    /// Runs one statement to its end; all its rows.
    @discardableResult
    mutating func run(
        _ sql: String,
        _ bindings: [SQLiteValue] = []
    ) throws(CatalogueError) -> [[SQLiteValue]] {
        let statement = try unsafe prepare(sql)
        // A statement that is not reset keeps its transaction's lock.
        defer { unsafe sqlite3_reset(statement) }
        for (index, value) in bindings.enumerated() {
            try check(unsafe value.bind(to: statement, at: CInt(index + 1)))
        }
        var rows: [[SQLiteValue]] = []
        while true {
            let code = unsafe sqlite3_step(statement)
            if code == SQLITE_DONE { return rows }
            guard code == SQLITE_ROW else {
                throw unsafe CatalogueError(code: code, handle: handle)
            }
            unsafe rows.append(SQLiteValue.row(of: statement))
        }
    }

    private mutating func prepare(_ sql: String) throws(CatalogueError) -> OpaquePointer {
        if let statement = unsafe statements[sql] { return unsafe statement }
        var prepared: OpaquePointer?
        let flags = CUnsignedInt(SQLITE_PREPARE_PERSISTENT)
        try check(unsafe sqlite3_prepare_v3(handle, sql, -1, flags, &prepared, nil))
        guard let statement = unsafe prepared else {
            throw .database(.other, message: "not a statement: \(sql)")
        }
        unsafe statements[sql] = statement
        return unsafe statement
    }

    private func check(_ code: CInt) throws(CatalogueError) {
        guard code == SQLITE_OK else { throw unsafe CatalogueError(code: code, handle: handle) }
    }
}

extension CatalogueError {
    /// The error of a call that returned `code`, with the message that `handle` holds.
    fileprivate init(code: CInt, handle: OpaquePointer?) {
        let text = unsafe handle.map { unsafe sqlite3_errmsg($0) } ?? sqlite3_errstr(code)
        let message = unsafe text.map { unsafe String(cString: $0) } ?? "no message"
        self = .database(Reason(code: code), message: "\(message) (\(code))")
    }
}

extension CatalogueError.Reason {
    /// The reason that a result code stands for, extended or not.
    init(code: CInt) {
        self =
            switch code & 0xFF {
            case SQLITE_BUSY, SQLITE_LOCKED: .busy
            case SQLITE_FULL: .full
            case SQLITE_CORRUPT, SQLITE_NOTADB: .corrupt
            case SQLITE_READONLY, SQLITE_PERM: .readonly
            case SQLITE_IOERR, SQLITE_CANTOPEN: .io
            default: .other
            }
    }
}
