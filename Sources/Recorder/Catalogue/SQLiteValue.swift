import CSQLite

/// A value that goes into a statement or comes out of one.
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
}

extension SQLiteValue {
    func bind(to statement: OpaquePointer, at index: CInt) -> CInt {
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

    static func row(of statement: OpaquePointer) -> [SQLiteValue] {
        let columns = unsafe sqlite3_column_count(statement)
        return (0..<columns).map { column in
            switch unsafe sqlite3_column_type(statement, column) {
            case SQLITE_NULL: .null
            case SQLITE_INTEGER: unsafe .integer(sqlite3_column_int64(statement, column))
            default:
                // Floats and blobs too: SQLite gives any value as text, or nil when out of memory.
                unsafe SQLiteValue(
                    sqlite3_column_text(statement, column).map { unsafe String(cString: $0) }
                )
            }
        }
    }
}
