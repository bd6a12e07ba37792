import Posix

/// The clients of the broadcaster, and what it sends them by itself; lives on its thread.
struct BroadcasterLoop {
    private let settings: Broadcaster.Settings
    private let active: () -> [ActiveRecording]
    private var clients: [WebSocketClient] = []
    private var polled = PollSet()
    private var scratch = [UInt8](repeating: 0, count: 1 << 14)
    private var updates: UpdateClock
    private var end: BootTime?

    init(_ settings: Broadcaster.Settings, _ active: @escaping () -> [ActiveRecording]) {
        (self.settings, self.active) = (settings, active)
        updates = UpdateClock(pause: settings.pause, refresh: settings.refresh)
    }

    var clientCount: Int { clients.count }

    /// Whether the end was asked for, and all clients have gone or had their time.
    var hasEnded: Bool {
        guard let end else { return false }
        return clients.isEmpty || end <= .now()
    }

    /// Takes what other threads have left.
    mutating func take(_ inbox: Broadcaster.Inbox, at now: BootTime) {
        for arrival in inbox.arrivals { adopt(arrival, at: now) }
        for frame in inbox.frames { send(frame) }
        if inbox.hasChanged { updates.changed() }
        guard end == nil, inbox.end != nil else { return }
        end = inbox.end
        for client in clients { client.close(.goingAway, at: now) }
    }

    /// Sends what is due, waits for clients, news or the next time, and serves.
    mutating func turn(alsoWatching wakeup: CInt) throws(SystemError) {
        sendUpdateIfDue(at: .now())
        clients.removeAll { $0.phase == .closed }
        guard !hasEnded else { return }
        _ = try polled.wait(until: fillPollSet(alsoWatching: wakeup))
        let now = BootTime.now()
        for (index, client) in clients.enumerated() {
            if polled.isReady(index + 1) { client.serve(by: &scratch, at: now) }
            client.tick(at: now)
        }
        clients.removeAll { $0.phase == .closed }
    }

    private mutating func fillPollSet(alsoWatching wakeup: CInt) -> BootTime? {
        polled.removeAll()
        polled.append(wakeup, for: .reading)
        for client in clients { polled.append(client.descriptor, for: client.interest) }
        let times =
            clients.map(\.alarm) + [clients.isEmpty ? nil : updates.due, end].compactMap(\.self)
        return times.min()
    }

    /// A client that is one too many learns that by its close code; it gets the active recordings otherwise.
    private mutating func adopt(_ arrival: WebSocketArrival, at now: BootTime) {
        let client = WebSocketClient(arrival, settings.client, at: now)
        clients.append(client)
        if end != nil { return client.close(.goingAway, at: now) }
        guard clients.count <= settings.clients else {
            return client.close(.tryAgainLater, at: now)
        }
        let recordings = active()
        if clients.count == 1 { updates.sent(at: now, isGrowing: !recordings.isEmpty) }
        if let frame = BroadcastMessage.active(recordings).frame() { client.send(frame) }
    }

    private mutating func sendUpdateIfDue(at now: BootTime) {
        guard !clients.isEmpty, let due = updates.due, due <= now else { return }
        let recordings = active()
        updates.sent(at: now, isGrowing: !recordings.isEmpty)
        if let frame = BroadcastMessage.active(recordings).frame() { send(frame) }
    }

    private func send(_ frame: [UInt8]) {
        for client in clients { client.send(frame) }
    }
}

/// Says when the active recordings are to be sent again: soon after a change, and now and then while they grow; pure.
struct UpdateClock {
    let pause: Duration
    let refresh: Duration
    private var last = BootTime(nanoseconds: 0)
    /// `nil` when nothing is to be sent.
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
