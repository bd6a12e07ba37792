import Posix

/// The ingest socket: takes what processes in any language publish, a little in every turn of the caller's loop.
final class IngestServer {
    static let mostConnections = 32
    private static let shortagePause = Duration.milliseconds(200)

    let metrics = IngestMetrics()
    private static let checkInterval = Duration.seconds(1)

    private var listener: ListeningSocket
    private let path: String
    private var checkedAt = BootTime.now()
    /// Whether the log says that the socket's path could not be taken again.
    private var isUnreachable = false
    private let directory: IngestDirectory
    private let log: Log?
    private let turnTime: Duration
    private var connections: [IngestConnection] = []
    private var polled = PollSet()
    private var scratch = [UInt8](repeating: 0, count: 16 << 10)
    /// The connection that is served first, so that in the end each is.
    private var turns = 0
    /// Until when no connection is accepted, because there was no descriptor for it.
    private var pausedUntil: BootTime?
    private let limiter = LogLimiter()

    /// Listens on a socket file of its own, with mode 0660; one that a dead exporter left behind is replaced.
    ///
    /// `turnTime` is what a flood of lines can delay a scrape by.
    /// - Throws: when somebody listens there, or nothing can be made in the directory.
    init(
        path: String,
        _ directory: IngestDirectory,
        _ log: Log?,
        turnTime: Duration = .milliseconds(2)
    ) throws(SystemError) {
        listener = try ListeningSocket(on: .unix(path: path))
        (self.path, self.directory, self.log, self.turnTime) = (path, directory, log, turnTime)
        for name in directory.waiting {
            log?(.info, "Waiting for a process to resume", ["recorder": name])
        }
    }

    /// To be polled for reading.
    var descriptors: [CInt] {
        let listening = pausedUntil == nil ? [listener.rawValue] : []
        return listening + connections.map { $0.socket.rawValue }
    }

    /// When there is something to do even if nothing arrives.
    var deadline: BootTime? {
        if connections.contains(where: \.hasWork) { return BootTime(nanoseconds: 0) }
        // Without a run there is nothing that has to be checked before somebody comes.
        let nextCheck =
            connections.contains { $0.session.run != nil }
            ? checkedAt.advanced(by: Self.checkInterval) : nil
        return [pausedUntil, directory.deadline, nextCheck].compactMap(\.self).min()
    }

    /// Serves what is ready, without waiting, and for no longer than a few milliseconds.
    ///
    /// `ready` is what the caller's loop found to be; without any, only the time that has passed counts.
    /// - Throws: when the socket cannot go on; never for what a client does.
    func turn(ready: [CInt]) throws(SystemError) {
        let now = BootTime.now()
        check(at: now)
        guard !ready.isEmpty || deadline.map({ $0 <= now }) == true else { return }
        polled.removeAll()
        for connection in connections { polled.append(connection.socket.rawValue, for: .reading) }
        polled.append(listener.rawValue, for: .reading)
        _ = try polled.wait(until: now)
        let someoneWaits = polled.isReady(connections.count)
        serve(until: now.advanced(by: turnTime))
        for name in directory.giveUp(at: now) {
            log?(.warn, "Process did not resume", ["recorder": name])
        }
        if let end = pausedUntil, end <= now { pausedUntil = nil }
        if someoneWaits, pausedUntil == nil { try acceptConnections(at: now) }
        metrics.note(openConnections: connections.count)
    }

    /// Sets the names of recorders that publish themselves: no client gets one because its file is gone for a moment.
    func reserve(_ names: Set<String>) { directory.reserved = names }

    /// Publishes anew, and listens anew, where the path is gone, at most a second after the turn that could notice it.
    ///
    /// A cleaner, a tmpfs that is mounted over it, or a unit that makes its directory anew takes a socket's path away while
    /// everything else goes on. There is no wake-up for this: an exporter that is scraped has turns enough.
    private func check(at now: BootTime) {
        guard now.since(checkedAt) >= Self.checkInterval else { return }
        checkedAt = now
        for connection in connections { connection.checkSegment() }
        if listener.isReachable {
            isUnreachable = false
            return
        }
        do throws(SystemError) {
            try FileSystem.makeParentDirectory(of: path)
            listener = try ListeningSocket(on: .unix(path: path))
            isUnreachable = false
            log?(.warn, "Ingest socket replaced, its path was gone", ["path": path])
        } catch {
            guard !isUnreachable else { return }
            isUnreachable = true
            log?(.warn, "Ingest socket not reachable", ["path": path, "error": "\(error)"])
        }
    }

    /// A process that is gone is heard to its end before newcomers: its next run may be among them.
    private func serve(until end: BootTime) {
        let someHungUp = connections.indices.contains { polled.hasHungUp($0) }
        turns &+= 1
        for offset in connections.indices {
            let index = (turns &+ offset) % connections.count
            let connection = connections[index]
            guard polled.isReady(index) || connection.hasWork else { continue }
            guard !someHungUp || polled.hasHungUp(index) || !connection.isNew else { continue }
            connection.serve(by: &scratch, until: end)
            if BootTime.now() >= end { break }
        }
        for connection in connections where connection.isOver { connection.logEnd() }
        connections.removeAll(where: \.isOver)
    }

    private func acceptConnections(at now: BootTime) throws(SystemError) {
        var count = 0
        do throws(SystemError) {
            while count < Self.mostConnections, let socket = try listener.accept() {
                take(socket)
                count += 1
            }
        } catch {
            guard error.isShortage else { throw error }
            // The kernel looks for a descriptor first, and for a connection then: maybe no further one waits.
            guard count == 0 else { return }
            if !evictOldest() { pausedUntil = now.advanced(by: Self.shortagePause) }
        }
    }

    private func take(_ socket: consuming Socket) {
        guard connections.count < Self.mostConnections || evictOldest() else {
            return turnAway(socket)
        }
        metrics.countConnection()
        let directory = directory
        let session = IngestSession { (hello) throws(IngestRefusal) in try directory.open(hello) }
        connections.append(IngestConnection(socket, session, metrics, log))
    }

    private func turnAway(_ socket: borrowing Socket) {
        noteTurnedAway()
        // What has arrived unread would make the kernel reset the connection.
        var unread = [UInt8](repeating: 0, count: 4096)
        var room = unread.mutableSpan
        _ = socket.receive(into: &room)
        if let reply = Self.reply(to: Self.noRoom) { _ = socket.send(reply.span) }
    }

    private static let noRoom = IngestRefusal(.room, "\(mostConnections) connections are open")

    private static func reply(to refusal: IngestRefusal) -> [UInt8]? {
        IngestSession { (_) throws(IngestRefusal) in throw refusal }.reply(.refused(refusal))
    }

    private func noteTurnedAway() {
        metrics.countConnection(isTurnedAway: true)
        log?(
            .warn,
            "Ingest connection refused, too many are open",
            ["open": "\(connections.count)"],
            limitedBy: limiter,
            condition: "room"
        )
    }

    /// Closes the oldest connection that publishes nothing, with an answer; `false` when all publish.
    ///
    /// What it has sent is read first: its `hello` may have been there for as long as this one waits.
    private func evictOldest() -> Bool {
        for connection in connections where connection.isExpendable {
            connection.serve(by: &scratch, until: .now())
            guard connection.isExpendable else { continue }
            if connection.isNew, !connection.isOver {
                noteTurnedAway()
                connection.refuse(Self.noRoom)
            } else {
                connection.logEnd()
            }
            connections.removeAll { $0 === connection }
            return true
        }
        return false
    }
}
