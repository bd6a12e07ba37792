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

/// Identifies a series: its family, by number, and its label values, compared byte by byte.
///
/// Prometheus compares bytes, too, while two `String`s are equal when they are canonically equivalent: an accented letter
/// in one scalar or in two would be one series here and two there.
package struct SeriesKey: Hashable {
    package let family: Int
    package let values: [String]

    package init(family: Int, values: [String]) {
        (self.family, self.values) = (family, values)
    }

    package static func == (left: SeriesKey, right: SeriesKey) -> Bool {
        left.family == right.family && left.values.count == right.values.count
            && zip(left.values, right.values).allSatisfy { $0.utf8.elementsEqual($1.utf8) }
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(family)
        for value in values {
            hasher.combine(value.utf8.count)
            for byte in value.utf8 { hasher.combine(byte) }
        }
    }
}

/// Text that is equal byte by byte only, such as a phase's name, which becomes a label value.
package struct ExactText: Hashable, Sendable {
    private let text: String

    package init(_ text: String) {
        self.text = text
    }

    package static func == (left: ExactText, right: ExactText) -> Bool {
        left.text.utf8.elementsEqual(right.text.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        for byte in text.utf8 { hasher.combine(byte) }
        hasher.combine(UInt8.max)
    }
}
