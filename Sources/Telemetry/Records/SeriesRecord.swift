import Posix

/// One series of a family: its label values, and where its cells are.
struct SeriesRecord: Hashable, Sendable {
    static let valueBytes = 144
    static let stride = RecordFrame.overhead + 24 + valueBytes

    /// Index of the family's slot.
    var family: Int
    /// Index of its first word.
    var word: Int
    var isRetired = false
    /// When it began to count, maybe in an earlier run; the zero of 1970 where nobody knows.
    var created: WallTime
    var values: [String]

    static func holds(_ values: [String]) -> Bool {
        values.allSatisfy { $0.utf8.count <= 255 }
            && values.reduce(0) { $0 + 1 + $1.utf8.count } <= valueBytes
    }

    var fields: [UInt8] {
        var writer = RecordWriter()
        writer.integer(UInt32(family))
        writer.integer(UInt32(word))
        writer.integer(UInt32(isRetired ? 1 : 0))
        writer.integer(UInt32(values.count))
        writer.integer(created.nanoseconds)
        writer.texts(values, width: Self.valueBytes)
        return writer.bytes
    }

    init(family: Int, word: Int, created: WallTime, values: [String]) {
        (self.family, self.word, self.created, self.values) = (family, word, created, values)
    }

    /// The series of a record; `nil` when its label values do not fit it.
    init?(_ record: RecordReader) {
        var record = record
        family = Int(record.integer(UInt32.self))
        word = Int(record.integer(UInt32.self))
        isRetired = record.integer(UInt32.self) != 0
        let count = Int(record.integer(UInt32.self))
        created = WallTime(nanoseconds: record.integer())
        guard count <= FamilyRecord.mostLabels,
            let values = record.texts(count, width: Self.valueBytes)
        else { return nil }
        self.values = values
    }
}

/// What tells one series from another: its family, by number, and its label values.
struct SeriesKey: Hashable {
    let family: Int
    let values: [String]
}
