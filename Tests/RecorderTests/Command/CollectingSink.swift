import Foundation
import Posix
import Synchronization

@testable import Media
@testable import Recorder

/// Keeps in memory what a source delivers.
final class CollectingSink: MediaSink {
    private(set) var collected = Collected()
    /// Called after each append, with the number of bytes so far; may make the sink fail.
    var onAppend: (Int) throws(SystemError) -> Void = { _ in }
    var onNote: (SourceEvent) -> Void = { _ in }
    var isSplitDue = false
    var refusesSplits = false

    func append(_ media: Span<UInt8>) throws(SystemError) {
        for index in media.indices { collected.bytes.append(media[index]) }
        try onAppend(collected.bytes.count)
    }

    func beginPart(_ container: MediaContainer) {
        collected.parts.append((container, at: collected.bytes.count))
    }

    func split(_ container: MediaContainer) -> Bool {
        isSplitDue = false
        guard !refusesSplits else { return false }
        beginPart(container)
        return true
    }

    func note(_ event: SourceEvent) {
        collected.events.append(event)
        onNote(event)
    }
}

struct Collected: Sendable {
    var bytes: [UInt8] = []
    /// Where each part begins.
    var parts: [(container: MediaContainer, at: Int)] = []
    var events: [SourceEvent] = []

    var text: String { String(decoding: bytes, as: UTF8.self) }

    /// The numbers of segments that were missed, as they were noted.
    var missed: [Int] {
        events.compactMap { event in
            if case .segmentsMissed(let count) = event { count } else { nil }
        }
    }

    /// The bytes of each part.
    var partBytes: [[UInt8]] {
        let ends = parts.dropFirst().map(\.at) + [bytes.count]
        return zip(parts, ends).map { Array(bytes[$0.at..<$1]) }
    }
}

/// Lines that a source logged; filled from its thread.
final class CollectedLines: Sendable {
    private let lines = Mutex<[String]>([])

    var all: [String] { lines.withLock { $0 } }

    func append(_ line: String) {
        lines.withLock { $0.append(line) }
    }
}

/// How a run of a source ended, and what it delivered.
struct RunOutcome: Sendable {
    let result: Result<SourceEnd, SourceError>
    let collected: Collected
    let took: Duration
}

/// Runs `source` on a thread of its own, as a recording does.
func run(
    _ source: some MediaSource,
    until stop: StopSignal,
    onAppend: @escaping @Sendable (Int) throws(SystemError) -> Void = { _ in },
    onNote: @escaping @Sendable (SourceEvent) -> Void = { _ in }
) async -> RunOutcome {
    await onThread {
        let sink = CollectingSink()
        sink.onAppend = onAppend
        sink.onNote = onNote
        let start = BootTime.now()
        let result = Result { () throws(SourceError) in try source.run(into: sink, until: stop) }
        return RunOutcome(
            result: result,
            collected: sink.collected,
            took: BootTime.now().since(start)
        )
    }
}

/// Runs blocking work outside the cooperative pool.
func onThread<Value: Sendable>(_ work: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        Thread.detachNewThread { continuation.resume(returning: work()) }
    }
}
