import CSQLite
import Posix

/// Why a call of the catalogue failed.
package enum CatalogueError: Error, Equatable, CustomStringConvertible {
    /// An error of SQLite, with its message.
    case database(Reason, message: String)
    /// A borrowed connection was not returned in time.
    case connectionPoolExhausted
    /// The catalogue is closed.
    case closed
    /// A newer recorder wrote the file: its schema has this version.
    case newerSchema(version: Int64)

    /// The label of the metric.
    package enum Reason: String, CaseIterable, Sendable {
        case busy, full, corrupt, readonly, io, other
    }

    package var reason: Reason {
        switch self {
        case .database(let reason, _): reason
        case .connectionPoolExhausted: .busy
        case .closed, .newerSchema: .other
        }
    }

    /// The words of the log line, which operators search for.
    package var description: String {
        switch self {
        case .database(let reason, let message): "\(reason.rawValue): \(message)"
        case .connectionPoolExhausted: "connection pool exhausted"
        case .closed: "the catalogue is closed"
        case .newerSchema(let version):
            "the catalogue was written by a newer recorder (schema \(version))"
        }
    }
}

/// Owns an open database and its prepared statements; used by one thread at a time.
@safe struct SQLiteDatabase: ~Copyable {
    private let handle: OpaquePointer
    /// Statements by their SQL, prepared at first use and kept.
    private var statements: [String: OpaquePointer]

    /// Opens the file at `path`, and creates it if it does not exist; never follows a symbolic link.
    init(path: String) throws(CatalogueError) {
        var opened: OpaquePointer?
        // The owner keeps other threads out, so SQLite's own mutex is not needed.
        let flags =
            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX
            | SQLITE_OPEN_NOFOLLOW
        let path = path == Catalogue.inMemory ? path : try CatalogueFiles.resolve(path)
        let code = unsafe sqlite3_open_v2(path, &opened, flags, nil)
        guard code == SQLITE_OK, let handle = unsafe opened else {
            let error = unsafe CatalogueError(code: code, handle: opened)
            unsafe sqlite3_close_v2(opened)  // After a failure, too, there is a handle to close.
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

    /// Keeps SQLite from removing the write-ahead log when it closes: another file may have that name by then.
    func keepLog() { _ = unsafe streamvault_sqlite3_keep_log(handle) }

    /// Whether the file could only be opened for reading.
    var isReadOnly: Bool { unsafe sqlite3_db_readonly(handle, "main") == 1 }

    /// Rows that the last statement changed.
    var changedRows: Int64 { unsafe sqlite3_changes64(handle) }

    /// Runs one statement to its end, and returns all its rows.
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
    /// The reason for a result code, extended or not.
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

/// A value that is bound to a statement, or read from a row.
enum SQLiteValue: Equatable, Sendable {
    case null
    case integer(Int64)
    case text(String)

    init(_ text: String?) {
        self = text.map { .text($0) } ?? .null
    }

    var asInteger: Int64? {
        if case .integer(let integer) = self { integer } else { nil }
    }

    var asText: String? {
        if case .text(let text) = self { text } else { nil }
    }

    fileprivate func bind(to statement: OpaquePointer, at index: CInt) -> CInt {
        switch self {
        case .null: return unsafe sqlite3_bind_null(statement, index)
        case .integer(let integer): return unsafe sqlite3_bind_int64(statement, index, integer)
        case .text(let text):
            // SQLITE_TRANSIENT, a cast that Swift cannot import: SQLite copies the text.
            let transient = unsafe unsafeBitCast(-1, to: sqlite3_destructor_type.self)
            return unsafe sqlite3_bind_text(
                statement,
                index,
                text,
                CInt(text.utf8.count),
                transient
            )
        }
    }

    fileprivate static func row(of statement: OpaquePointer) -> [SQLiteValue] {
        let columns = unsafe sqlite3_column_count(statement)
        return (0..<columns).map { column in
            switch unsafe sqlite3_column_type(statement, column) {
            case SQLITE_NULL: .null
            case SQLITE_INTEGER: unsafe .integer(sqlite3_column_int64(statement, column))
            default:
                // Floats and blobs too: SQLite returns any value as text, or nil when out of memory.
                unsafe SQLiteValue(
                    sqlite3_column_text(statement, column).map { unsafe String(cString: $0) }
                )
            }
        }
    }
}
