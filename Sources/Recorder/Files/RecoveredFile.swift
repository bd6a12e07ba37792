import Posix

/// A part file that the recovery met, and what became of it.
struct RecoveredFile: Equatable, Sendable {
    let name: RecordingName
    /// When media was last written to it, by the file's time; `nil` when that could not be read.
    var lastWrittenAt: WallTime?
    let outcome: Outcome

    enum Outcome: Equatable, Sendable, CustomStringConvertible {
        /// It was whole, and has its final name.
        case published(path: String, bytes: Int)
        /// It has its final name; `cutBytes` at its end were no whole packet.
        case truncated(path: String, bytes: Int, cutBytes: Int)
        /// It held no media; what it held is removed, or set aside at `keptAt`.
        case discarded(bytes: Int, keptAt: String?)
        /// A living recorder holds it.
        case inUse
        /// It is left as it was, for the next start.
        case failed(FinalizeError)

        /// In words, for the log.
        var description: String {
            switch self {
            case .published(let path, let bytes): "published \(path), \(bytes) bytes"
            case .truncated(let path, let bytes, let cut):
                "published \(path), \(bytes) bytes, \(cut) cut off its end"
            case .discarded(let bytes, nil): "removed \(bytes) bytes that are no media"
            case .discarded(_, let path?): "no media, set aside as \(path)"
            case .inUse: "in use by another recorder"
            case .failed(let error): "left for the next start: \(error.detail)"
            }
        }
    }

    /// The label of the metric; `nil` for a file that was not recovered.
    enum Label: String, CaseIterable, Sendable {
        case published, truncated, discarded
    }

    var label: Label? {
        switch outcome {
        case .published: .published
        case .truncated: .truncated
        case .discarded: .discarded
        case .inUse, .failed: nil
        }
    }
}
