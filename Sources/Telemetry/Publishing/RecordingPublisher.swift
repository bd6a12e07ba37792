import Posix
import Synchronization

/// Publishes one recording, from its start to its end.
///
/// One thread reports its writes. Of a recording that finds no place (`SegmentCapacity.recordings`), only the end is seen.
public final class RecordingPublisher: Sendable {
    private let publisher: Publisher
    private let slot: Int?
    private let bytes: Cell
    private let hasEnded = Atomic(false)

    init(_ publisher: Publisher, slot: Int?, bytes: Cell) {
        (self.publisher, self.slot, self.bytes) = (publisher, slot, bytes)
    }

    /// Says that media was written just now; nothing after the end, when another recording may have this one's place.
    ///
    /// - Parameter count: bytes since the last call.
    public func wrote(_ count: Int) {
        guard !hasEnded.load(ordering: .relaxed) else { return }
        bytes.addAlone(UInt64(clamping: count))
        bytes.following(1).store(BootTime.now().nanoseconds)
    }

    /// What has been written so far.
    package var bytesWritten: UInt64 { bytes.load() }

    /// Says that the recording goes on in another file.
    public func continues(in path: String, container: String) {
        guard let slot else { return }
        publisher.segment.board.withLock { board in
            guard !hasEnded.load(ordering: .relaxed) else { return }
            board.move(slot, to: path, container: container)
        }
    }

    /// Says that nothing more will be written, and the file is being finalized.
    public func finalizing() {
        guard let slot else { return }
        publisher.segment.board.withLock { board in
            guard !hasEnded.load(ordering: .relaxed) else { return }
            board.finalize(slot)
        }
    }

    /// Says how it ended; a second end changes nothing, nor does one after the publisher's goodbye.
    public func end(_ result: RecordingResult) {
        guard !hasEnded.exchange(true, ordering: .relaxed) else { return }
        publisher.segment.board.withLock { $0.close(slot, result) }
    }
}

extension Publisher {
    /// Says that a recording has started.
    ///
    /// - Parameters:
    ///   - id: the recorder's own number for it.
    ///   - stream: its name in the configuration, at most 64 bytes: the label `stream`.
    ///   - path: the file that is being written; at most 256 bytes are kept.
    ///   - container: such as `ts`, at most 8 bytes.
    /// - Returns: what its writes and its end are reported to.
    public func startRecording(
        id: UInt64,
        stream: String,
        path: String,
        container: String
    ) -> RecordingPublisher {
        let recording = OpenRecording(
            id: id,
            stream: stream,
            path: path,
            container: container,
            state: .recording,
            startedBoot: .now(),
            startedWall: .now()
        )
        let (slot, bytes) = segment.board.withLock { board in
            let slot = board.open(recording)
            return (slot, board.bytesCell(slot))
        }
        return RecordingPublisher(self, slot: slot, bytes: bytes)
    }
}
