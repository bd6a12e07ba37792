import Posix
import StreamVaultTelemetry

/// One client of the ingest socket: its bytes, its session, and what it is answered.
final class IngestConnection {
    let socket: Socket
    private(set) var session: IngestSession
    private let metrics: IngestMetrics
    private let log: Log?
    private var lines = LineBuffer()
    private var replies: [UInt8] = []
    private var refusedLines = 0
    /// Whether nothing more will arrive.
    private var hasEnded = false
    /// Whether lines may wait here that there was no time for.
    private(set) var hasWork = false
    /// For whom it speaks, or spoke; `nil` before `hello`.
    private var name: String?

    init(
        _ socket: consuming Socket,
        _ session: IngestSession,
        _ metrics: IngestMetrics,
        _ log: Log?
    ) {
        self.socket = socket
        (self.session, self.metrics, self.log) = (session, metrics, log)
    }

    /// Whether the client is gone, and all that it has sent was read.
    var isOver: Bool { hasEnded && !hasWork }

    /// Whether it has not yet said whom it speaks for.
    var isNew: Bool { name == nil }

    /// Whether it can be closed for another without harm: it has not begun, or has said goodbye.
    var isExpendable: Bool { session.run == nil }

    /// Reads all lines that are there, or as many as there is time for until `end`: one at least.
    func serve(by scratch: inout [UInt8], until end: BootTime) {
        repeat {
            readLines(until: end)
        } while !hasWork && !hasEnded && receive(by: &scratch)
        lines.compact()
        sendReplies()
    }

    /// Answers what it may send next: before it is closed.
    func refuse(_ refusal: IngestRefusal) {
        if let reply = session.reply(.refused(refusal)) { replies += reply }
        sendReplies()
    }

    /// Checks the segment of its run, if it has one.
    func checkSegment() {
        guard let run = session.run, let event = run.check() else { return }
        if case .published(let cause) = event.kind { metrics.countRepublished(cause) }
        log?.note(event, of: run.name)
    }

    /// Says in the log how it went.
    func logEnd() {
        guard let log, let name else { return }
        let end = session.run == nil ? "goodbye" : "connection lost"
        log(
            session.run == nil ? .info : .warn,
            "Ingest ended",
            [
                "recorder": name, "end": end, "lines": "\(session.lineNumber)",
                "refused": "\(refusedLines)",
            ]
        )
    }

    /// `false` when nothing is there.
    private func receive(by scratch: inout [UInt8]) -> Bool {
        var room = scratch.mutableSpan
        switch socket.receive(into: &room) {
        case .moved(let count): lines.append(scratch[..<count])
        case .wouldBlock: return false
        case .closed, .lost:
            hasEnded = true
            // Until now it lived: the verdict on its end has the right time.
            session.run?.heartbeat()
        }
        return true
    }

    private func readLines(until end: BootTime) {
        hasWork = false
        while let line = lines.next() ?? (hasEnded ? lines.last() : nil) {
            read(line)
            if BootTime.now() >= end {
                hasWork = true
                return
            }
        }
    }

    private func read(_ line: LineBuffer.Line) {
        let answer = session.take(line, of: lines.bytes)
        metrics.count(answer)
        if name == nil, let run = session.run { greet(run) }
        if case .refused(let refusal) = answer { note(refusal) }
        if let reply = session.reply(answer) { replies += reply }
        if replies.count >= Self.replyBatch { sendReplies() }
    }

    private func greet(_ run: IngestRun) {
        name = run.name
        let fields: KeyValuePairs = ["recorder": run.name, "resumed": "\(run.isResumed)"]
        log?(.info, "Ingest started", fields)
        guard let trouble = run.trouble else { return }
        log?(.warn, "Telemetry is incomplete", ["recorder": run.name, "error": trouble])
    }

    /// Only the first mistake goes to the log: who makes one makes many.
    private func note(_ refusal: IngestRefusal) {
        refusedLines += 1
        guard refusedLines == 1 else { return }
        log?(
            .warn,
            "Ingest line refused",
            [
                "recorder": name ?? "", "line": "\(session.lineNumber)",
                "reason": refusal.reason.rawValue, "error": refusal.text,
            ]
        )
    }

    /// A client that does not read its answers loses them, and nothing else: the kernel's buffer is all that they get.
    private func sendReplies() {
        guard !replies.isEmpty else { return }
        switch socket.send(replies.span) {
        case .moved(let count) where count == replies.count: break
        case .moved: hasEnded = true  // A local socket takes so little in whole or not at all.
        case .wouldBlock: metrics.countDroppedReplies()
        case .closed, .lost: break  // Reading will tell.
        }
        replies.removeAll(keepingCapacity: true)
    }

    private static let replyBatch = 4096
}

extension Log {
    fileprivate func note(_ event: PublisherEvent, of recorder: String) {
        guard !event.isRepeated else { return }
        switch event.kind {
        case .published(let cause):
            let fields: KeyValuePairs = ["recorder": recorder, "cause": cause.rawValue]
            self(.warn, "Telemetry published again", fields)
        case .unpublished(let error):
            self(.error, "Telemetry not published", ["recorder": recorder, "error": error])
        }
    }
}
