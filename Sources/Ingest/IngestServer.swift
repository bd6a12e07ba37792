package import Posix
package import StreamVaultTelemetry

/// Totals since the start of an ingest server, and its open connections.
package struct IngestCounters: Sendable {
    package fileprivate(set) var openConnections = 0
    package fileprivate(set) var accepted: UInt64 = 0
    /// Connections closed at once, because there were too many.
    package fileprivate(set) var rejected: UInt64 = 0
    package fileprivate(set) var lines: UInt64 = 0
    package fileprivate(set) var refusedLines: [IngestError.Reason: UInt64] = [:]
    /// Times that replies were discarded, because their client did not read.
    package fileprivate(set) var droppedReplies: UInt64 = 0
    /// Segments published in a new file.
    package fileprivate(set) var republished: [PublisherEvent.Cause: UInt64] = [:]
}

/// The ingest socket: publishes what processes written in any language report, a little in each turn of the caller's loop.
///
/// A turn is `prepare`, a wait, and `serve`.
package struct IngestServer: ~Copyable {
    static let maxConnections = 32
    private static let checkInterval = Duration.seconds(1)
    /// Pause before the next attempt to accept a connection without a free descriptor.
    private static let retryDelay = Duration.milliseconds(200)

    package private(set) var counters = IngestCounters()
    private var listener: ListeningSocket
    private let path: String
    private let directory: IngestDirectory
    private let log: Log?
    private let turnTime: Duration
    private var connections: [IngestConnection] = []
    /// The index of the listener in the poll set; the connections follow it.
    private var firstPolled = 0
    private var scratch = [UInt8](repeating: 0, count: 16 << 10)
    /// Counts turns; the connection that is served first changes with it, so that each has its turn.
    private var turns = 0
    private var checkedAt = BootTime.now()
    /// Whether the log says that the socket could not be created again.
    private var isUnreachable = false
    /// No connection is accepted until then, for want of a descriptor.
    private var pausedUntil: BootTime?
    private let limiter = LogLimiter()

    /// Listens on a socket file of its own with mode 0660; a file that a dead exporter left behind is replaced.
    ///
    /// `turnTime` is the longest delay of a scrape by a flood of lines.
    /// - Throws: when another process listens there, or the directory is not writable.
    package init(
        path: String,
        _ directory: IngestDirectory,
        _ log: Log?,
        turnTime: Duration = .milliseconds(2)
    ) throws(SystemError) {
        listener = try ListeningSocket(on: .unix(path: path))
        (self.path, self.directory, self.log, self.turnTime) = (path, directory, log, turnTime)
        for name in directory.awaitingResume {
            log?(.info, "Waiting for a process to resume", ["recorder": name])
        }
    }

    /// Sets the names of recorders that publish themselves: no client gets one while its file is missing.
    package func reserve(_ names: Set<String>) { directory.reserved = names }

    /// Adds the descriptors to wait for.
    ///
    /// - Returns: when the server needs a turn without an event.
    package mutating func prepare(_ loop: inout EventLoop) -> BootTime? {
        firstPolled = loop.count
        loop.watch(listener.rawValue, for: pausedUntil == nil ? .reading : .nothing)
        for connection in connections { loop.watch(connection.descriptor, for: .reading) }
        return nextDeadline
    }

    var nextDeadline: BootTime? {
        if connections.contains(where: \.hasBufferedInput) { return BootTime(nanoseconds: 0) }
        // Without a run there is nothing to check before a connection arrives.
        let nextCheck =
            connections.contains { $0.session.run != nil }
            ? checkedAt.advanced(by: Self.checkInterval) : nil
        return [pausedUntil, directory.deadline, nextCheck].compactMap(\.self).min()
    }

    /// Serves the descriptors that are ready, without waiting, for a few milliseconds at most.
    ///
    /// - Throws: when the socket cannot be used any more; never because of a client.
    package mutating func serve(_ loop: EventLoop) throws(SystemError) {
        let now = BootTime.now()
        check(at: now)
        let hasNewcomers = loop.isReady(firstPolled)
        serveConnections(loop, until: now.advanced(by: turnTime))
        for name in directory.abandonOverdue(at: now) {
            log?(.warn, "Process did not resume", ["recorder": name])
        }
        if let end = pausedUntil, end <= now { pausedUntil = nil }
        if hasNewcomers, pausedUntil == nil { try acceptConnections(at: now) }
        counters.openConnections = connections.count
    }

    /// Serves connections that the other side has closed before new ones: the next run of a name may be among the new ones.
    private mutating func serveConnections(_ loop: EventLoop, until end: BootTime) {
        let first = firstPolled + 1
        let someHungUp = connections.indices.contains { loop.hasHungUp(first + $0) }
        turns &+= 1
        for offset in connections.indices {
            let index = (turns &+ offset) % connections.count
            let connection = connections[index]
            let hasHungUp = loop.hasHungUp(first + index)
            guard loop.isReady(first + index) || connection.hasBufferedInput else { continue }
            guard !someHungUp || hasHungUp || !connection.isNew else { continue }
            connection.serve(through: &scratch, until: end, &counters)
            if BootTime.now() >= end { break }
        }
        for connection in connections where connection.isFinished { connection.logEnd() }
        connections.removeAll(where: \.isFinished)
    }

    private mutating func acceptConnections(at now: BootTime) throws(SystemError) {
        var count = 0
        do throws(SystemError) {
            while count < Self.maxConnections, let socket = try listener.accept() {
                accept(socket)
                count += 1
            }
        } catch {
            guard error.isResourceShortage else { throw error }
            // accept4 allocates a descriptor before it looks for a connection: there may be no further one.
            guard count == 0 else { return }
            if !evictOldest() { pausedUntil = now.advanced(by: Self.retryDelay) }
        }
    }

    private mutating func accept(_ socket: consuming Socket) {
        guard connections.count < Self.maxConnections || evictOldest() else {
            noteRejected()
            // Unread bytes would turn the close into a reset, which discards the reply.
            var room = scratch.mutableSpan
            _ = socket.receive(into: &room)
            if let reply = IngestSession.reply(.refused(Self.noRoom), toLine: 0) {
                _ = socket.send(reply.span)
            }
            return
        }
        counters.accepted += 1
        let directory = directory
        let session = IngestSession { (hello) throws(IngestError) in try directory.open(hello) }
        connections.append(IngestConnection(socket, session, log))
    }

    private static let noRoom = IngestError(.room, "\(maxConnections) connections are open")

    private mutating func noteRejected() {
        counters.rejected += 1
        log?(
            .warn,
            "Ingest connection refused, too many are open",
            ["open": "\(connections.count)"],
            limitedBy: limiter,
            condition: "room"
        )
    }

    /// Closes the oldest connection that publishes nothing, with a reply; `false` when all publish.
    ///
    /// What it has sent is read first, because its `hello` may already have arrived.
    private mutating func evictOldest() -> Bool {
        for connection in connections where connection.session.run == nil {
            connection.serve(through: &scratch, until: .now(), &counters)
            guard connection.session.run == nil else { continue }
            if connection.isNew, !connection.isFinished {
                noteRejected()
                connection.refuse(Self.noRoom, &counters)
            } else {
                connection.logEnd()
            }
            connections.removeAll { $0 === connection }
            return true
        }
        return false
    }

    /// Publishes segments and the socket again after their files have disappeared, once a second at most.
    ///
    /// A cleaner, a tmpfs that is mounted over the directory, or a unit that recreates it can remove a socket's path while
    /// the processes continue. The check causes no wake-up: an exporter that is scraped has enough turns.
    private mutating func check(at now: BootTime) {
        guard now.since(checkedAt) >= Self.checkInterval else { return }
        checkedAt = now
        for connection in connections { connection.checkSegment(&counters) }
        if listener.isReachable {
            isUnreachable = false
            return
        }
        do throws(SystemError) {
            try FileSystem.makeParentDirectory(of: path)
            listener = try ListeningSocket(on: .unix(path: path))
            isUnreachable = false
            log?(.warn, "Ingest socket created again after its file disappeared", ["path": path])
        } catch {
            guard !isUnreachable else { return }
            isUnreachable = true
            log?(.warn, "Ingest socket not reachable", ["path": path, "error": "\(error)"])
        }
    }
}

/// One client: its received bytes, its session, and the replies to it.
private final class IngestConnection {
    private(set) var session: IngestSession
    /// Whether complete lines may remain in the buffer that the last turn had no time for.
    private(set) var hasBufferedInput = false
    private let socket: Socket
    private let log: Log?
    private var lines = LineBuffer()
    private var replies: [UInt8] = []
    private var refusedLines = 0
    /// Whether nothing more will arrive.
    private var hasEnded = false
    /// The name in `hello`; `nil` before that.
    private var name: String?

    /// Replies are sent when they are larger than that, or at the end of a turn.
    private static let replyBatch = 4096

    init(_ socket: consuming Socket, _ session: IngestSession, _ log: Log?) {
        self.socket = socket
        (self.session, self.log) = (session, log)
    }

    var descriptor: CInt { socket.rawValue }

    /// Whether the client has closed the connection, and everything that it sent was read.
    var isFinished: Bool { hasEnded && !hasBufferedInput }

    /// Whether it has not sent `hello`.
    var isNew: Bool { name == nil }

    /// Reads all lines that have arrived, or as many as there is time for until `end`, but at least one.
    func serve(
        through scratch: inout [UInt8],
        until end: BootTime,
        _ counters: inout IngestCounters
    ) {
        repeat {
            processLines(until: end, &counters)
        } while !hasBufferedInput && !hasEnded && receive(through: &scratch)
        lines.compact()
        sendReplies(&counters)
    }

    /// Replies to the next line, before the connection is closed.
    func refuse(_ error: IngestError, _ counters: inout IngestCounters) {
        if let reply = IngestSession.reply(.refused(error), toLine: session.lineNumber) {
            replies += reply
        }
        sendReplies(&counters)
    }

    /// `false` when nothing has arrived.
    private func receive(through scratch: inout [UInt8]) -> Bool {
        var room = scratch.mutableSpan
        switch socket.receive(into: &room) {
        case .moved(let count): lines.append(scratch[..<count])
        case .wouldBlock: return false
        case .closed, .lost:
            hasEnded = true
            session.run?.heartbeat()  // So that the verdict on the run has the right time.
        }
        return true
    }

    private func processLines(until end: BootTime, _ counters: inout IngestCounters) {
        hasBufferedInput = false
        while let line = lines.next() ?? (hasEnded ? lines.last() : nil) {
            process(line, &counters)
            if BootTime.now() >= end {
                hasBufferedInput = true
                return
            }
        }
    }

    private func process(_ line: LineBuffer.Line, _ counters: inout IngestCounters) {
        let outcome = session.process(line, of: lines.bytes)
        counters.lines += 1
        if name == nil, let run = session.run { logStart(of: run) }
        if case .refused(let error) = outcome {
            counters.refusedLines[error.reason, default: 0] += 1
            note(error)
        }
        if let reply = IngestSession.reply(outcome, toLine: session.lineNumber) { replies += reply }
        if replies.count >= Self.replyBatch { sendReplies(&counters) }
    }

    /// A client that does not read loses replies, and nothing else: the kernel's buffer is all that is kept for it.
    private func sendReplies(_ counters: inout IngestCounters) {
        guard !replies.isEmpty else { return }
        switch socket.send(replies.span) {
        case .moved(let count) where count == replies.count: break
        case .moved: hasEnded = true  // A local socket never splits such a small message.
        case .wouldBlock: counters.droppedReplies += 1
        case .closed, .lost: break  // The next read reports it.
        }
        replies.removeAll(keepingCapacity: true)
    }

    /// Checks the segment of its run, if it has one.
    func checkSegment(_ counters: inout IngestCounters) {
        guard let run = session.run, let event = run.check() else { return }
        if case .published(let cause) = event.kind {
            counters.republished[cause, default: 0] += 1
        }
        guard !event.isRepeated else { return }
        switch event.kind {
        case .published(let cause):
            let fields: KeyValuePairs = ["recorder": run.name, "cause": cause.rawValue]
            log?(.warn, "Telemetry published again", fields)
        case .unpublished(let error):
            log?(.error, "Telemetry not published", ["recorder": run.name, "error": error])
        }
    }

    private func logStart(of run: IngestRun) {
        name = run.name
        let fields: KeyValuePairs = ["recorder": run.name, "resumed": "\(run.isResumed)"]
        log?(.info, "Ingest started", fields)
        guard let warning = run.warning else { return }
        log?(.warn, "Telemetry is incomplete", ["recorder": run.name, "error": warning])
    }

    /// Logs the first error of a connection only: a client that makes one usually makes many.
    private func note(_ error: IngestError) {
        refusedLines += 1
        guard refusedLines == 1 else { return }
        log?(
            .warn,
            "Ingest line refused",
            [
                "recorder": name ?? "", "line": "\(session.lineNumber)",
                "reason": error.reason.rawValue, "error": error.text,
            ]
        )
    }

    func logEnd() {
        guard let log, let name else { return }
        let hasFinished = session.run == nil
        log(
            hasFinished ? .info : .warn,
            "Ingest ended",
            [
                "recorder": name, "end": hasFinished ? "goodbye" : "connection lost",
                "lines": "\(session.lineNumber)", "refused": "\(refusedLines)",
            ]
        )
    }
}

/// Splits received bytes into lines of limited length.
struct LineBuffer {
    /// Maximum length of a line without its line feed.
    static let maxLineBytes = 64 << 10
    /// Maximum memory of an idle connection's buffer.
    private static let maxKeptCapacity = 4096

    enum Line: Equatable {
        /// Its range in `bytes`, without the line feed.
        case complete(Range<Int>)
        /// The rest of the line is discarded.
        case tooLong
    }

    private(set) var bytes: [UInt8] = []
    /// The start of the next line, and the end of the part of it that contains no line feed.
    private var (start, scanned) = (0, 0)
    private var isSkipping = false

    mutating func append(_ received: ArraySlice<UInt8>) {
        bytes.append(contentsOf: received)
    }

    /// Removes the next line; `nil` when it has not arrived completely.
    mutating func next() -> Line? {
        while true {
            guard let end = bytes[scanned...].firstIndex(of: UInt8(ascii: "\n")) else {
                scanned = bytes.count
                return skipTooLong()
            }
            let line = start..<end
            (start, scanned) = (end + 1, end + 1)
            if isSkipping {
                isSkipping = false
                continue
            }
            return line.count > Self.maxLineBytes ? .tooLong : .complete(line)
        }
    }

    /// Reports a line that is already too long before its end has arrived.
    private mutating func skipTooLong() -> Line? {
        guard isSkipping || bytes.count - start > Self.maxLineBytes else { return nil }
        start = bytes.count
        defer { isSkipping = true }
        return isSkipping ? nil : .tooLong
    }

    /// Removes the bytes after the last line feed, once nothing more will arrive; `nil` when there are none.
    mutating func last() -> Line? {
        guard start < bytes.count, !isSkipping else { return nil }
        defer { start = bytes.count }
        return .complete(start..<bytes.count)
    }

    /// Moves the remaining bytes to the front; once for all lines that arrived together.
    mutating func compact() {
        guard start > 0 else { return }
        let keepsCapacity = bytes.capacity <= Self.maxKeptCapacity
        bytes.removeSubrange(..<start)
        if bytes.isEmpty, !keepsCapacity { bytes = [] }
        (start, scanned) = (0, scanned - start)
    }
}
