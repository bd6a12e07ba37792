/// What a server has done since its start.
package struct Counters: Sendable {
    /// Connections taken.
    package internal(set) var accepted: UInt64 = 0
    /// Connections closed to make room for others.
    package internal(set) var evicted: UInt64 = 0
    /// Responses of the handler.
    package internal(set) var responses = StatusCounts()
    /// Requests that the server itself refused, before a handler saw them.
    package internal(set) var rejections = StatusCounts()
}

/// How often each status was sent.
package struct StatusCounts: Sendable {
    /// In the order of their first use: a server sends few different ones.
    private var entries: [(status: Status, count: UInt64)] = []
    package private(set) var total: UInt64 = 0

    package subscript(_ status: Status) -> UInt64 {
        entries.first { $0.status == status }?.count ?? 0
    }

    /// All that were sent, by rising code.
    package var sorted: [(status: Status, count: UInt64)] {
        entries.sorted { $0.status.code < $1.status.code }
    }

    mutating func add(_ status: Status) {
        total += 1
        if let index = entries.firstIndex(where: { $0.status == status }) {
            entries[index].count += 1
        } else {
            entries.append((status, 1))
        }
    }
}
