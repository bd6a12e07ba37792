package import Posix

/// An open recording, and how far it has come.
package struct RecordingProgress: Sendable {
    package let recording: OpenRecording
    /// Bytes written so far.
    package let bytes: UInt64
    /// When it wrote last; its start as long as it has not.
    package let lastWrite: BootTime
}

extension Snapshot {
    /// All open recordings, in the order of their places.
    package var recordings: [RecordingProgress] {
        contents.places.compactMap { place in
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
