import HTTP
import JSON
import Posix
import StreamVaultTelemetry
import Synchronization
import WebSocket

/// What WebSocket clients receive, each as one text message: `{"type", "data", "timestamp"}`.
enum BroadcastMessage: Sendable {
    /// All open recordings.
    case active([ActiveRecording])
    case recording(RecordingEvent)
    case draining
    case stopping(Phase, secondsLeft: Double)

    /// The message in a frame; `nil` if clients are not told of the event.
    func frame() -> [UInt8]? {
        value.map { WebSocketFrame.encode(.text, JSONWriter.write($0, .compact)) }
    }

    /// Whether the message changes the active recordings.
    var changesRecordings: Bool {
        switch self {
        case .recording: true
        case .active, .draining, .stopping: false
        }
    }

    private var value: JSONValue? {
        let now = BootTime.now()
        return switch self {
        case .active(let recordings):
            Self.message(
                "active_recordings_update",
                .array(recordings.map { $0.json(now: now) })
            )
        case .recording(.started(let recording)):
            Self.message("recording_started", recording.json(now: now))
        case .recording(.finalizing): nil
        case .recording(.stopped(let recording, let result)):
            Self.message("recording_stopped", recording.json(status: result, now: now))
        case .recording(.failed(let recording, let error)):
            Self.message(
                "recording_error",
                [
                    "id": .integer(recording.id), "stream": .string(recording.stream),
                    "error": .string(error),
                ]
            )
        case .draining: Self.message("shutdown", ["state": "draining"])
        case .stopping(let phase, let secondsLeft):
            Self.message(
                "shutdown",
                [
                    "state": "stopping", "phase": .string(phase.rawValue),
                    "seconds_left": .double(secondsLeft),
                ]
            )
        }
    }

    private static func message(_ type: String, _ data: JSONValue) -> JSONValue {
        ["type": .string(type), "data": data, "timestamp": .string(WallTime.now().iso8601)]
    }
}

/// Sends messages to all WebSocket clients, on a thread of its own: the thread of the API waits for no client.
final class Broadcaster: Sendable {
    struct Settings: Sendable {
        var maxClients = 128
        var client = WebSocketConnection.Limits()
        /// Minimum time between two updates of the active recordings.
        var pause = Duration.seconds(1)
        /// Time between two updates while recordings grow and nothing else happens.
        var refresh = Duration.seconds(10)
    }

    /// What other threads have posted since the last turn.
    fileprivate struct Inbox {
        var connections: [UpgradedConnection] = []
        /// Frames for all clients.
        var frames: [[UInt8]] = []
        var recordingsHaveChanged = false
        /// Once the broadcaster stops: when connections that are still open are dropped.
        var deadline: BootTime?
    }

    /// Frames that wait for the thread; beyond it the oldest are dropped, since the thread hangs.
    private static let maxFrames = 1024

    private let settings: Settings
    private let inbox = Mutex(Inbox())
    private let wakeup: Wakeup
    private let clientCount = Atomic(0)
    private let clientGauge: Gauge

    init(_ settings: Settings = Settings(), clientGauge: Gauge) throws(SystemError) {
        self.settings = settings
        self.clientGauge = clientGauge
        wakeup = try Wakeup()
    }

    /// Whether another client may connect.
    var hasRoom: Bool { clientCount.load(ordering: .relaxed) < settings.maxClients }

    var isStopping: Bool { inbox.withLock { $0.deadline != nil } }

    /// Takes over a connection that has been answered with 101.
    func adopt(_ connection: UpgradedConnection) {
        // Counted here, since many may arrive before the thread counts them.
        clientCount.add(1, ordering: .relaxed)
        post { $0.connections.append(connection) }
    }

    /// Sends a message to all clients; returns at once.
    func send(_ message: BroadcastMessage) {
        let frame = message.frame()
        post { inbox in
            if inbox.frames.count == Self.maxFrames { inbox.frames.removeFirst() }
            if let frame { inbox.frames.append(frame) }
            if message.changesRecordings { inbox.recordingsHaveChanged = true }
        }
    }

    /// Serves clients on a thread of its own.
    func start(
        _ mainThread: Wakeup,
        _ status: RecorderStatus
    ) throws(SystemError) -> RunningService {
        let task = try BackgroundTask(named: "broadcaster", mainThread) { () throws(SystemError) in
            try self.run(status)
        }
        return RunningService(tasks: [task]) { self.stop(until: $0) }
    }

    /// Closes all connections with 1001; the thread ends when they are closed, or at `deadline`.
    private func stop(until deadline: BootTime) {
        post { $0.deadline = $0.deadline ?? deadline }
    }

    private func run(_ status: RecorderStatus) throws(SystemError) {
        // Whatever ends the thread, no further client is accepted.
        defer { inbox.withLock { $0.deadline = $0.deadline ?? .now() } }
        var clients = BroadcasterClients(settings, status)
        while !clients.haveEnded {
            clients.handle(takeInbox(), at: .now())
            try clients.turn(alsoWatching: wakeup.descriptor)
            wakeup.clear()
            clientCount.store(clients.count, ordering: .relaxed)
            clientGauge.set(Double(clients.count))
        }
    }

    private func post(_ change: (inout Inbox) -> Void) {
        inbox.withLock { change(&$0) }
        wakeup.wake()
    }

    private func takeInbox() -> Inbox {
        inbox.withLock { inbox in
            defer { inbox = Inbox(deadline: inbox.deadline) }
            return inbox
        }
    }
}

/// The clients, and the updates that they receive without an event; used by the broadcaster's thread.
private struct BroadcasterClients {
    private let settings: Broadcaster.Settings
    private let status: RecorderStatus
    private var clients: [WebSocketConnection] = []
    private var loop = EventLoop()
    private var scratch = [UInt8](repeating: 0, count: 1 << 14)
    private var updates: UpdateSchedule
    private var deadline: BootTime?

    init(_ settings: Broadcaster.Settings, _ status: RecorderStatus) {
        (self.settings, self.status) = (settings, status)
        updates = UpdateSchedule(pause: settings.pause, refresh: settings.refresh)
    }

    var count: Int { clients.count }

    /// Whether the broadcaster stops, and all connections are closed or the deadline has passed.
    var haveEnded: Bool {
        guard let deadline else { return false }
        return clients.isEmpty || deadline <= .now()
    }

    mutating func handle(_ inbox: Broadcaster.Inbox, at now: BootTime) {
        for connection in inbox.connections { add(connection, at: now) }
        for frame in inbox.frames { send(frame) }
        if inbox.recordingsHaveChanged { updates.changed() }
        guard deadline == nil, inbox.deadline != nil else { return }
        deadline = inbox.deadline
        for client in clients { client.close(.goingAway, at: now) }
    }

    /// Sends an update if it is due; then waits for clients, the inbox or the next deadline, and serves.
    mutating func turn(alsoWatching wakeup: CInt) throws(SystemError) {
        sendUpdateIfDue(at: .now())
        clients.removeAll(where: \.isClosed)
        guard !haveEnded else { return }
        loop.begin()
        loop.watch(wakeup, for: .reading)
        for client in clients { loop.watch(client.descriptor, for: client.interest) }
        let updateTime = clients.isEmpty ? nil : updates.due
        let deadlines = clients.map(\.nextDeadline) + [updateTime, deadline].compactMap(\.self)
        _ = try loop.wait(until: deadlines.min())
        let now = BootTime.now()
        for (index, client) in clients.enumerated() {
            if loop.isReady(index + 1) { client.serve(with: &scratch, at: now) }
            client.tick(at: now)
        }
        clients.removeAll(where: \.isClosed)
    }

    /// Sends the active recordings to a new client; closes the connection with 1013 if there are too many.
    private mutating func add(_ connection: UpgradedConnection, at now: BootTime) {
        let client = WebSocketConnection(connection, settings.client, at: now)
        clients.append(client)
        if deadline != nil { return client.close(.goingAway, at: now) }
        guard clients.count <= settings.maxClients else {
            return client.close(.tryAgainLater, at: now)
        }
        let recordings = status.recordings
        if clients.count == 1 { updates.sent(at: now, isGrowing: !recordings.isEmpty) }
        if let frame = BroadcastMessage.active(recordings).frame() { client.send(frame) }
    }

    private mutating func sendUpdateIfDue(at now: BootTime) {
        guard !clients.isEmpty, let due = updates.due, due <= now else { return }
        let recordings = status.recordings
        updates.sent(at: now, isGrowing: !recordings.isEmpty)
        if let frame = BroadcastMessage.active(recordings).frame() { send(frame) }
    }

    private func send(_ frame: [UInt8]) {
        for client in clients { client.send(frame) }
    }
}

/// When the active recordings are sent again: soon after a change, and regularly while they grow.
struct UpdateSchedule {
    let pause: Duration
    let refresh: Duration
    private var last = BootTime(nanoseconds: 0)
    /// `nil` if no update is needed.
    private(set) var due: BootTime?

    init(pause: Duration, refresh: Duration) {
        (self.pause, self.refresh) = (pause, refresh)
    }

    mutating func changed() {
        let soon = last.advanced(by: pause)
        due = due.map { min($0, soon) } ?? soon
    }

    mutating func sent(at now: BootTime, isGrowing: Bool) {
        last = now
        due = isGrowing ? now.advanced(by: refresh) : nil
    }
}
