import Posix
import StreamVaultTelemetry
import Synchronization

/// Tells WebSocket clients what happens, on one thread for all of them.
final class Broadcaster: Sendable {
    struct Settings: Sendable {
        var clients = 128
        var client = WebSocketClient.Settings()
        /// Between two updates of the active recordings, at least.
        var pause = Duration.seconds(1)
        /// Between two updates while recordings grow, and nothing else happens.
        var refresh = Duration.seconds(10)
    }

    /// What other threads leave for the broadcaster's.
    struct Inbox {
        var arrivals: [WebSocketArrival] = []
        /// Frames for all clients.
        var frames: [[UInt8]] = []
        /// Whether the active recordings are others than before.
        var hasChanged = false
        /// Until when the clients have time to say goodbye, once the end is asked for.
        var end: BootTime?
    }

    /// Frames that wait for the thread; beyond it the oldest go, for then the thread hangs.
    private static let mostFrames = 1024

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

    /// Whether another client may come.
    var hasRoom: Bool { clientCount.load(ordering: .relaxed) < settings.clients }

    /// Whether the end was asked for.
    var isStopping: Bool { inbox.withLock { $0.end != nil } }

    /// Takes over a connection that has been answered with 101.
    func adopt(_ arrival: WebSocketArrival) {
        // Before the thread counts them: many may come at once.
        clientCount.add(1, ordering: .relaxed)
        leave { $0.arrivals.append(arrival) }
    }

    /// Sends a message to all clients; does not wait for that.
    func send(_ message: BroadcastMessage) {
        let frame = message.frame()
        leave { inbox in
            if inbox.frames.count == Self.mostFrames { inbox.frames.removeFirst() }
            if let frame { inbox.frames.append(frame) }
            if message.changesRecordings { inbox.hasChanged = true }
        }
    }

    /// Says goodbye to all clients, and ends the thread at `deadline` at the latest.
    private func stop(until deadline: BootTime) {
        leave { $0.end = $0.end ?? deadline }
    }

    /// Serves clients on a thread of its own; `active` gives what is being recorded.
    func start(
        _ mainThread: Wakeup,
        _ active: @escaping @Sendable () -> [ActiveRecording]
    ) throws(SystemError) -> RunningService {
        let task = try BackgroundTask(named: "broadcaster", mainThread) { () throws(SystemError) in
            try self.run(active)
        }
        return RunningService(tasks: [task]) { self.stop(until: $0) }
    }

    /// Serves clients until the end is asked for and they have gone.
    private func run(_ active: @escaping @Sendable () -> [ActiveRecording]) throws(SystemError) {
        // Whatever ends the thread, no client is taken any more.
        defer { inbox.withLock { $0.end = $0.end ?? .now() } }
        var loop = BroadcasterLoop(settings, active)
        while !loop.hasEnded {
            loop.take(takeInbox(), at: .now())
            try loop.turn(alsoWatching: wakeup.descriptor)
            wakeup.clear()
            clientCount.store(loop.clientCount, ordering: .relaxed)
            clientGauge.set(Double(loop.clientCount))
        }
    }

    private func leave(_ change: (inout Inbox) -> Void) {
        inbox.withLock { change(&$0) }
        wakeup.wake()
    }

    private func takeInbox() -> Inbox {
        inbox.withLock { inbox in
            defer { inbox = Inbox(end: inbox.end) }
            return inbox
        }
    }
}
