package import Posix

/// A part file of an earlier run, and what the recovery did with it.
package struct RecoveredFile: Equatable, Sendable {
    package let name: RecordingName
    /// When media was last written to it, by the file's time; `nil` when that could not be read.
    package var lastWrittenAt: WallTime?
    package let outcome: Outcome

    package enum Outcome: Equatable, Sendable, CustomStringConvertible {
        /// It was complete, and has its final name.
        case published(path: String, bytes: Int)
        /// It has its final name; `cutBytes` at its end were no complete packet.
        case truncated(path: String, bytes: Int, cutBytes: Int)
        /// No media was found in it: it is kept at `keptAt`, or was empty and is removed.
        case discarded(bytes: Int, keptAt: String?)
        /// A running recorder has locked it.
        case inUse
        /// It is left unchanged, for the next start.
        case failed(FinalizeError)

        /// In words, for the log.
        package var description: String {
            switch self {
            case .published(let path, let bytes): "recovered as \(path), \(bytes) bytes"
            case .truncated(let path, let bytes, let cut):
                "recovered as \(path), \(bytes) bytes, after \(cut) incomplete bytes at the end were removed"
            case .discarded(_, nil): "removed, it was empty"
            case .discarded(let bytes, let path?): "no media in \(bytes) bytes, kept as \(path)"
            case .inUse: "locked by another program"
            case .failed(let error): "left unchanged: \(error.detail)"
            }
        }
    }

    /// The label of the metric; `nil` for a file that was not recovered.
    package enum Label: String, CaseIterable, Sendable {
        case published, truncated, discarded
    }

    package var label: Label? {
        switch outcome {
        case .published: .published
        case .truncated: .truncated
        case .discarded: .discarded
        case .inUse, .failed: nil
        }
    }
}
