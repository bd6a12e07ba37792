import Posix

/// Selects the connection to close when all places are taken.
///
/// Half of the places are for incomplete requests and responses, the other half for connections that are kept alive. The
/// half that exceeds its share makes room: of the incomplete ones the oldest, of the others the one whose client is least
/// likely to return. So neither clients that never finish a request nor clients that keep connections open can keep
/// other clients out.
enum Admission {
    /// What a connection needs its place for.
    enum Use {
        /// Everything has been sent, and only the client has to close its side.
        case finished
        /// A request has not arrived completely, or its response has not been read.
        case unfinished
        /// Kept alive after a response.
        case keptAlive
    }

    /// After this time an incomplete request is closed before any connection that is kept alive.
    private static let unfinishedAllowance = Duration.seconds(1)

    /// The index of the connection to close, other than `newcomer`; `nil` when there is none.
    ///
    /// If one peer has more than half of all connections, one of those is closed: a peer cannot take the places of others.
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
            switch use(of: connection, at: now) {
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
                if keptAlive.map({ isLessValuable(connection, than: connections[$0]) }) ?? true {
                    keptAlive = index
                }
            }
        }
        if let finished { return finished }
        guard let unfinished else { return keptAlive }
        guard let keptAlive else { return unfinished }
        let isLate = now.since(connections[unfinished].since) >= unfinishedAllowance
        return isLate || unfinishedCount >= keptAliveCount ? unfinished : keptAlive
    }

    /// `nil` for a connection that the server has finished with.
    static func use(of connection: Connection, at now: BootTime) -> Use? {
        switch connection.state {
        case .new, .receiving, .sending: return .unfinished
        case .draining where !connection.awaitsAcknowledgement: return .finished
        case .idle, .draining:
            // An acknowledgement takes a moment; from a client that does not read, none arrives.
            let isEarly = now.since(connection.since) < unfinishedAllowance
            return isEarly || !connection.awaitsAcknowledgement ? .keptAlive : .unfinished
        case .upgraded, .closed: return nil
        }
    }

    /// Of clients that return, the newest is closed first: those of a flood are newer than long-standing clients.
    private static func isLessValuable(_ one: Connection, than other: Connection) -> Bool {
        guard one.habit == other.habit else { return one.habit < other.habit }
        return one.habit == .returning ? one.number > other.number : one.since < other.since
    }

    /// The index of the connection to close when unread responses take too much memory, other than `newcomer`; `nil` if none.
    ///
    /// The response that has been sending for longest is dropped; if one peer holds more than half of the memory, one of
    /// that peer's.
    static func slowestReader(among connections: [Connection], for newcomer: Connection) -> Int? {
        let crowd = peerWithMostMemory(among: connections)
        let sending = connections.indices.filter {
            connections[$0].state == .sending && connections[$0] !== newcomer
        }
        let ofCrowd = sending.filter { connections[$0].peer === crowd }
        return (ofCrowd.isEmpty ? sending : ofCrowd)
            .min { connections[$0].since < connections[$1].since }
    }

    private static func peerWithMostMemory(among connections: [Connection]) -> Peer? {
        var held: [ObjectIdentifier: Int] = [:]
        var total = 0
        for connection in connections {
            held[ObjectIdentifier(connection.peer), default: 0] += connection.heldBytes
            total += connection.heldBytes
        }
        let most = held.first { $0.value * 2 > total }
        return connections.first { ObjectIdentifier($0.peer) == most?.key }?.peer
    }
}

/// The clients behind one address; for IPv6, behind one /64 network, the size that one subscriber gets.
final class Peer {
    let network: String
    /// Open connections.
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
