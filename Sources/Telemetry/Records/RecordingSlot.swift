package import Posix

/// How a recording ended; the raw value is the label of `streamvault_recordings_finished_total`.
public enum RecordingResult: String, CaseIterable, Sendable {
    /// The stream ended, or somebody asked for the end.
    case completed
    /// A shutdown cut it short; its file is whole.
    case interrupted
    /// Its file could not be finalized, or its source failed.
    case failed
}

/// A recording that is open: being written, or being finalized.
package struct OpenRecording: Hashable, Sendable {
    package enum State: UInt32, Sendable {
        case recording = 1
        case finalizing
    }

    package var id: UInt64
    package var stream: String
    package var path: String
    package var container: String
    package var state: State
    package var startedBoot: BootTime
    package var startedWall: WallTime
}

/// One place for a recording: what is open in it now, and how many ended in it before, by result.
///
/// Both stand in one record, so that an end and its count are one write, and no death can come between them.
struct RecordingSlot: Hashable, Sendable {
    static let stride = RecordCoding.overhead + 8 + 24 + 24 + 8 + 64 + 256

    /// Index of the word with the bytes written; the word after it is the time of the last write.
    var word: Int
    var open: OpenRecording?
    /// In the order of `RecordingResult.allCases`.
    var ended: [UInt64] = [0, 0, 0]

    var fields: [UInt8] {
        var writer = RecordWriter()
        writer.integer(open?.state.rawValue ?? 0)
        writer.integer(UInt32(word))
        for count in ended { writer.integer(count) }
        writer.integer(open?.id ?? 0)
        writer.integer(open?.startedBoot.nanoseconds ?? 0)
        writer.integer(open?.startedWall.nanoseconds ?? 0)
        writer.text(open?.container ?? "", width: 8)
        writer.text(open?.stream ?? "", width: 64)
        writer.text(open?.path ?? "", width: 256)
        return writer.bytes
    }

    init(word: Int) {
        self.word = word
    }

    /// The place of a record; `nil` for a state that is not known.
    init?(_ record: RecordReader) {
        var record = record
        let state = record.integer(UInt32.self)
        word = Int(record.integer(UInt32.self))
        ended = RecordingResult.allCases.map { _ in record.integer() }
        guard state != 0 else { return }
        guard let state = OpenRecording.State(rawValue: state) else { return nil }
        open = OpenRecording(
            id: record.integer(),
            stream: "",
            path: "",
            container: "",
            state: state,
            startedBoot: BootTime(nanoseconds: record.integer()),
            startedWall: WallTime(nanoseconds: record.integer())
        )
        open?.container = record.text(width: 8)
        open?.stream = record.text(width: 64)
        open?.path = record.text(width: 256)
    }
}

/// An open recording, and how far it has come.
package struct RecordingProgress: Sendable {
    package let recording: OpenRecording
    /// Bytes written so far.
    package let bytes: UInt64
    /// When it wrote last; its start as long as it has not.
    package let lastWrite: BootTime
}

extension Snapshot {
    /// All open recordings, in the order of their slots.
    package var recordings: [RecordingProgress] {
        contents.slots.compactMap { place in
            place.open.map {
                RecordingProgress(
                    recording: $0,
                    bytes: words[place.word],
                    lastWrite: max(BootTime(nanoseconds: words[place.word + 1]), $0.startedBoot)
                )
            }
        }
    }
}
