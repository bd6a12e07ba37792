package import Posix

/// How a recording ended; the raw value is the label of `streamvault_recordings_finished_total`.
public enum RecordingResult: String, CaseIterable, Sendable {
    /// The stream ended, or the recording was stopped on request.
    case completed
    /// A shutdown ended it; its file is complete.
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

/// A slot for a recording: the recording that is open in it, and the number that ended in it before, by result.
///
/// Both are in one record: the end of a recording and its count are one write, which a killed process cannot separate.
struct RecordingSlot: Hashable, Sendable {
    static let stride = RecordCoding.overhead + 8 + 24 + 24 + 8 + 64 + 256

    /// Index of the word with the number of bytes written; the next word is the time of the last write.
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

    /// `nil` for an unknown state.
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

/// An open recording and its progress.
package struct RecordingProgress: Sendable {
    package let recording: OpenRecording
    /// Number of bytes written so far.
    package let bytes: UInt64
    /// Time of the last write; the start if there was none.
    package let lastWrite: BootTime
}

extension Snapshot {
    /// All open recordings, in the order of their slots.
    package var recordings: [RecordingProgress] {
        contents.slots.compactMap { slot in
            slot.open.map {
                RecordingProgress(
                    recording: $0,
                    bytes: words[slot.word],
                    lastWrite: max(BootTime(nanoseconds: words[slot.word + 1]), $0.startedBoot)
                )
            }
        }
    }
}
