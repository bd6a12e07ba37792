package import Posix

/// Serves HTTP/1.1 on one thread, in turns: the caller owns the loop.
///
/// No call blocks but the wait for all descriptors at once, so a slow or silent client never delays another. Nothing
/// wakes it without a reason: a connection that is idle costs one wake-up, when its time is over.
package struct Server: ~Copyable {
    package let limits: Limits
    package internal(set) var counters = Counters()
    /// Answers `Connection: close` from now on, so that no idle connection looks like a customer.
    package var closing = false
    /// Which names a browser may call this server by; `nil` allows all.
    package var hosts: HostPolicy?
    let listeners: [Listener]
    var connections: [Connection] = []
    var deliveries: [Delivery] = []
    var ended: [UInt64] = []
    var upgraded: [Connection] = []
    var polled = PollSet()
    /// The connections of a turn that something has arrived for; kept, so that a turn allocates nothing.
    var waiting: [Connection] = []
    var date = DateField(.now())
    private var crowding = CrowdingReport()
    /// Until when no connection is accepted, because there was no descriptor for it.
    var pausedUntil: BootTime?
    /// What arrives for any connection passes through here.
    var scratch: [UInt8] = Array(repeating: 0, count: 1 << 14)

    /// Listens on all of `addresses`, or on none.
    package init(on addresses: [ListenAddress], limits: Limits = Limits()) throws(SystemError) {
        var listeners: [Listener] = []
        for address in addresses {
            // Who lists both families means each of them.
            let ipv6Only = addresses.contains(where: address.isBothFamilies(beside:))
            listeners.append(Listener(try ListeningSocket(on: address, ipv6Only: ipv6Only)))
        }
        self.listeners = listeners
        self.limits = limits
    }

    /// Where it listens, with the ports that the kernel chose.
    package var addresses: [ListenAddress] { listeners.map { $0.socket.address } }

    package var openConnections: Int { connections.count }

    /// Connections with a request or a response under way, or whose acknowledgement is awaited.
    package var busyConnections: Int { connections.count { $0.isBusy } }

    /// Waits until something is ready, or `deadline`, and serves all that is.
    ///
    /// `blocked` is a descriptor of the caller's that has no room: the wait ends when it has.
    /// Without a deadline, and with no connection open, it waits for ever; a signal ends the wait.
    /// - Returns: those of `descriptors` that are readable.
    /// - Throws: when the server cannot go on; never for what a client does.
    package mutating func turn(
        until deadline: BootTime? = nil,
        alsoWatching descriptors: [CInt] = [],
        orRoomIn blocked: CInt? = nil,
        handle: (Request) -> Response
    ) throws(SystemError) -> [CInt] {
        let alarm = fillPollSet(alsoWatching: descriptors)
        if let blocked { polled.append(blocked, for: .writing) }
        _ = try polled.wait(until: Self.earliest(deadline, alarm))
        let readable = descriptors.indices.filter { polled.isReady(listeners.count + $0) }
        let now = BootTime.now()
        date.update(to: .now())
        findWaiting(from: listeners.count + descriptors.count)
        // A new client waits for no other: its request has mostly come with its connection.
        try acceptConnections(at: now, until: now.advanced(by: limits.turn * 0.5), handle)
        serveWaiting(until: now.advanced(by: limits.turn), handle)
        finishTurn(at: now)
        return readable.map { descriptors[$0] }
    }

    /// How many connections were closed to make room since the last report, every ten minutes at most; `nil` if none.
    package mutating func crowdingReport(at now: BootTime = .now()) -> UInt64? {
        crowding.next(counters.evicted, at: now)
    }

    /// The responses with a tag that were acknowledged since the last call.
    package mutating func takeDeliveries() -> [Delivery] {
        defer { deliveries.removeAll() }
        return deliveries
    }

    /// The connections that have ended since the last call, of those that a response asked to be told of.
    package mutating func takeEnded() -> [UInt64] {
        defer { ended.removeAll() }
        return ended
    }

    /// Hands over the next connection that a handler has answered with 101.
    ///
    /// - Throws: when there is no descriptor for it; the connection is closed then.
    package mutating func nextUpgraded() throws(SystemError) -> Upgraded? {
        guard !upgraded.isEmpty else { return nil }
        return try upgraded.removeFirst().handOver()
    }

    /// Enters all that is waited for; the result is when a connection needs attention by itself.
    private mutating func fillPollSet(alsoWatching descriptors: [CInt]) -> BootTime? {
        polled.removeAll()
        var alarm = pausedUntil
        for listener in listeners {
            polled.append(listener.socket.rawValue, for: alarm == nil ? .reading : .nothing)
        }
        for descriptor in descriptors { polled.append(descriptor, for: .reading) }
        for connection in connections {
            polled.append(connection.socket.rawValue, for: connection.interest)
            let next = connection.hasWork ? BootTime(nanoseconds: 0) : connection.alarm
            alarm = Self.earliest(alarm, next)
        }
        return alarm
    }

    private static func earliest(_ first: BootTime?, _ second: BootTime?) -> BootTime? {
        guard let first, let second else { return first ?? second }
        return min(first, second)
    }
}

/// Reports a count that has grown, at once and then every ten minutes.
private struct CrowdingReport {
    private static let pause = Duration.seconds(600)

    private var reported: UInt64 = 0
    private var reportedAt: BootTime?

    mutating func next(_ count: UInt64, at now: BootTime) -> UInt64? {
        guard count > reported else { return nil }
        if let reportedAt, now.since(reportedAt) < Self.pause { return nil }
        defer { (reported, reportedAt) = (count, now) }
        return count - reported
    }
}

extension ListenAddress {
    /// Whether it is every IPv6 address, and `other` every IPv4 address of the same port.
    fileprivate func isBothFamilies(beside other: ListenAddress) -> Bool {
        guard case .internet(.v6(.zero), let port) = self else { return false }
        return port > 0 && other == .internet(.v4(0), port: port)
    }
}
