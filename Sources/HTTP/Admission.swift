import Posix

/// Decides which connection is closed when all places are taken; pure.
///
/// Half of the places belong to requests under way and half to connections that are kept alive. The half that is over
/// its share makes room: of the requests the oldest one, of the others the one whose client is least likely to miss it.
/// So neither clients that never finish a request nor clients that keep connections open can keep others out.
struct Admission {
    /// What a connection uses its place for.
    enum Use {
        /// Everything has been sent: the client only has to close its side.
        case finished
        /// A request has not arrived completely, or its response has not been taken.
        case unfinished
        /// Kept alive after a response.
        case keptAlive
    }

    /// What a client has shown about its use of a connection.
    enum Habit: Int, Comparable {
        /// It has sent one request, or several at a time.
        case once
        /// It has scraped.
        case scraped
        /// It has come back with another request after a pause.
        case returning

        static func < (left: Habit, right: Habit) -> Bool { left.rawValue < right.rawValue }
    }

    /// An unfinished request that is older than this is closed before any connection that is kept alive.
    static let patience = Duration.seconds(1)

    /// The index of the connection to close, `newcomer` apart; `nil` when there is none.
    ///
    /// If one peer has more than half of all connections, it is one of that peer's: it cannot take the places of others.
    static func victim(
        among connections: [Connection],
        for newcomer: Connection? = nil,
        at now: BootTime
    ) -> Int? {
        let crowd = connections.first { $0.peer.connections * 2 > connections.count }?.peer
        var finished: Int?
        var unfinished: Int?
        var keptAlive: Int?
        var (unfinishedCount, keptAliveCount) = (0, 0)
        for (index, connection) in connections.enumerated() {
            if connection === newcomer { continue }
            if let crowd, connection.peer !== crowd { continue }
            switch connection.use(at: now) {
            case nil: continue
            case .finished?:
                if finished.map({ connection.since < connections[$0].since }) ?? true {
                    finished = index
                }
            case .unfinished?:
                unfinishedCount += 1
                if unfinished.map({ connection.since < connections[$0].since }) ?? true {
                    unfinished = index
                }
            case .keptAlive?:
                keptAliveCount += 1
                if keptAlive.map({ isLessMissed(connection, than: connections[$0]) }) ?? true {
                    keptAlive = index
                }
            }
        }
        if let finished { return finished }
        guard let unfinished else { return keptAlive }
        guard let keptAlive else { return unfinished }
        let isLate = now.since(connections[unfinished].since) >= patience
        return isLate || unfinishedCount >= keptAliveCount ? unfinished : keptAlive
    }

    /// The index of the connection to close when unread responses take too much memory, `newcomer` apart; `nil` for none.
    ///
    /// The response that has been on its way for longest goes, of one peer's when that peer holds more than half of all.
    static func slowestReader(among connections: [Connection], for newcomer: Connection) -> Int? {
        let crowd = peerThatHoldsMost(of: connections)
        let reading = connections.indices.filter {
            connections[$0].phase == .sending && connections[$0] !== newcomer
        }
        let ofCrowd = reading.filter { connections[$0].peer === crowd }
        return (ofCrowd.isEmpty ? reading : ofCrowd)
            .min { connections[$0].since < connections[$1].since }
    }

    private static func peerThatHoldsMost(of connections: [Connection]) -> Peer? {
        var held: [ObjectIdentifier: Int] = [:]
        var total = 0
        for connection in connections {
            held[ObjectIdentifier(connection.peer), default: 0] += connection.outbox.heldBytes
            total += connection.outbox.heldBytes
        }
        let most = held.first { $0.value * 2 > total }
        return connections.first { ObjectIdentifier($0.peer) == most?.key }?.peer
    }

    /// Of clients that come back the newest is missed least: who has been here for long is no flood.
    private static func isLessMissed(_ one: Connection, than other: Connection) -> Bool {
        guard one.habit == other.habit else { return one.habit < other.habit }
        return one.habit == .returning ? one.number > other.number : one.since < other.since
    }
}

/// The clients behind one address, for IPv6 behind one /64 network, which is what one subscriber has.
final class Peer {
    let network: String
    /// Those that are open.
    var connections = 0

    init(_ network: String) {
        self.network = network
    }

    static func network(of address: String) -> String {
        guard case .v6(var bytes)? = address.utf8.contains(0x3A) ? IPAddress(address) : nil else {
            return address
        }
        for index in 8..<16 { bytes[index] = 0 }
        return IPAddress.v6(bytes).description
    }
}

extension Connection {
    /// `nil` when the server has no more to do with it.
    func use(at now: BootTime) -> Admission.Use? {
        switch phase {
        case .silent, .receiving, .sending: .unfinished
        case .draining where pending.isEmpty: .finished
        // An acknowledgement takes a moment; a client that does not read gives none.
        case .idle, .draining:
            pending.isEmpty || now.since(since) < Admission.patience ? .keptAlive : .unfinished
        case .upgraded, .closed: nil
        }
    }
}
