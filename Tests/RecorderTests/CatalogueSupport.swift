import Posix
import Synchronization

@testable import Catalogue
@testable import Media
@testable import Recorder

private let lastID = Atomic<Int64>(1_000_000)

/// The first part of a new recording of the stream `cam`, in the file `path`.
func catalogueEntry(_ path: String, stream: String = "cam") -> PartStart {
    PartStart(
        recordingID: lastID.add(1, ordering: .relaxed).newValue,
        stream: stream,
        title: "It's \"it\"; --",
        recordingStartedAt: UTCTime(filesStart),
        number: 1,
        path: path,
        container: .mpegTS,
        startedAt: UTCTime(filesStart)
    )
}

extension Catalogue {
    /// Enters a part; its recording's id.
    @discardableResult
    func start(_ part: PartStart) throws(CatalogueError) -> Int64 {
        try apply([.partStarted(part)])
        return part.recordingID
    }

    /// Enters the end of a recording of one part, a minute after its start.
    func end(
        _ id: Int64,
        _ status: CatalogueRecording.Status,
        path: String = "/r/a.ts",
        bytes: Int = 1 << 40,
        reason: String? = nil,
        at end: UTCTime = UTCTime(filesStart).advanced(by: 60)
    ) throws(CatalogueError) {
        let isWhole = status == .completed || status == .interrupted
        let part = PartEnd(
            recordingID: id,
            number: 1,
            status: isWhole ? .finished : .failed,
            bytes: bytes,
            path: path,
            failureReason: reason,
            endedAt: end
        )
        let recording = RecordingEnd(
            recordingID: id,
            status: status,
            failureReason: reason,
            endedAt: end
        )
        try apply([.partEnded(part), .recordingEnded(recording)])
    }

    /// All recordings, the oldest first.
    func all() throws(CatalogueError) -> [CatalogueRecording] {
        try reading { (database) throws(CatalogueError) in try database.recordings(where: "1") }
    }
}
