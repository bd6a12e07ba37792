@testable import Catalogue
@testable import Recorder

/// Rows as bytes say: one byte for each value, which chooses among those that hurt, or takes its text from the bytes behind it.
struct RowScript {
    private var rest: ArraySlice<UInt8>

    private static let integers: [Int64] = [
        .min, -1, 0, 1, 2, 999, 1 << 53, 1 << 62, .max - 1, .max, 1_795_430_700_000_000,
    ]
    private static let texts = [
        "", "/", "..", ".ts", "/r/a.ts", "/r/a.ts.part", "recording", "completed", "interrupted",
        "failed", "finished", "deleted", "pending", "deleting", "1970-01-01T00:00:00Z",
        "2026-11-23T10:45:00Z", "9999-12-31T23:59:59Z",
    ]
    private static let tables = [
        ("recordings", "ITTTTTTTI"), ("parts", "IITTTTTITTITT"), ("jobs", "IITIIT"),
    ]

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    /// The next row, as a statement and its values; `nil` at the end.
    mutating func next() -> (String, [SQLiteValue])? {
        guard let choice = rest.popFirst() else { return nil }
        let (table, columns) = Self.tables[Int(choice) % Self.tables.count]
        let values = columns.map { $0 == "I" ? integer() : text() }
        let marks = columns.map { _ in "?" }.joined(separator: ", ")
        return ("INSERT OR REPLACE INTO \(table) VALUES (\(marks))", values)
    }

    private mutating func integer() -> SQLiteValue {
        let byte = rest.popFirst() ?? 0
        guard byte < 0xF0 else { return .null }
        return .integer(Self.integers[Int(byte) % Self.integers.count])
    }

    private mutating func text() -> SQLiteValue {
        let byte = rest.popFirst() ?? 0
        switch byte {
        case 0xF0...: return .null
        case 0x80..<0xF0:
            let taken = rest.prefix(Int(byte & 0x1F))
            rest = rest.dropFirst(taken.count)
            return .text(String(decoding: taken, as: UTF8.self))
        default: return .text(Self.texts[Int(byte) % Self.texts.count])
        }
    }
}
