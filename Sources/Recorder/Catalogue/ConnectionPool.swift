import Dispatch
import Posix
import Synchronization

/// A fixed number of connections that threads borrow and give back.
final class ConnectionPool: Sendable {
    private struct State {
        var idle: [CatalogueConnection]
        var phase = Phase.open
    }

    private enum Phase {
        case open
        /// Nobody may borrow; `close` waits for what is out.
        case closing
        /// What is still given back is closed at once.
        case closed
    }

    private let size: Int
    private let state: Mutex<State>
    /// Counts the idle connections.
    private let available: DispatchSemaphore

    init(_ connections: [CatalogueConnection]) {
        size = connections.count
        state = Mutex(State(idle: connections))
        // From 0 up: Dispatch traps when a semaphore goes with a lower count than it came with.
        available = DispatchSemaphore(value: 0)
        for _ in connections { available.signal() }
    }

    /// Waits for an idle connection; the borrower's value gives it back when it goes.
    ///
    /// - Throws: `.connectionPoolExhausted` after `timeout`, `.closed` once `close` has been called.
    func borrow(within timeout: Duration) throws(CatalogueError) -> BorrowedConnection {
        guard available.wait(timeout: .now() + timeout.forDispatch) == .success else {
            throw isOpen ? .connectionPoolExhausted : .closed
        }
        let connection = state.withLock { state in
            state.phase == .open ? state.idle.popLast() : nil
        }
        guard let connection else {
            available.signal()  // The turn belongs to `close`, or to the next that is refused.
            throw .closed
        }
        return BorrowedConnection(connection, of: self)
    }

    private var isOpen: Bool { state.withLock { $0.phase == .open } }

    fileprivate func giveBack(_ connection: CatalogueConnection) {
        let isTooLate = state.withLock { state in
            if state.phase != .closed { state.idle.append(connection) }
            return state.phase == .closed
        }
        if isTooLate { connection.close() }
        available.signal()
    }

    /// Refuses new borrowers, waits for the borrowed connections, writes the log back and closes.
    ///
    /// Nothing that was committed depends on it: the log is read at the next start. A second call does nothing.
    /// - Throws: `.connectionPoolExhausted` when one is not given back by `deadline`: the others are closed,
    ///   and that one when it is given back.
    func close(until deadline: BootTime) throws(CatalogueError) {
        let isFirst = state.withLock { state in
            guard state.phase == .open else { return false }
            state.phase = .closing
            return true
        }
        guard isFirst else { return }
        let isComplete = waitForAll(until: deadline)
        let connections = state.withLock { state in
            state.phase = .closed
            defer { state.idle = [] }
            return state.idle
        }
        for connection in connections.dropFirst() { connection.close() }
        defer { connections.first?.close() }
        guard isComplete else { throw .connectionPoolExhausted }
        // Another program that reads holds up the log, not the shutdown: at most a second for it.
        try connections.first?.checkpoint(within: min(.seconds(1), deadline.since(.now())))
    }

    private func waitForAll(until deadline: BootTime) -> Bool {
        let count = takeTurns(until: deadline)
        if count == size { giveBack(turns: count) }
        return count == size
    }

    /// Waits for all connections, as far as they are given back by `deadline`; how many were.
    private func takeTurns(until deadline: BootTime) -> Int {
        for count in 0..<size {
            let left = deadline.since(.now()).forDispatch
            guard available.wait(timeout: .now() + left) == .success else { return count }
        }
        return size
    }

    private func giveBack(turns count: Int) {
        for _ in 0..<count { available.signal() }
    }

    /// Puts those that `body` returns in the place of all connections, which nobody has meanwhile.
    ///
    /// - Throws: `.connectionPoolExhausted` when one is not given back in time, `.closed` once `close` has been called.
    func reopen(
        within timeout: Duration,
        _ body: ([CatalogueConnection]) throws(CatalogueError) -> [CatalogueConnection]
    ) throws(CatalogueError) {
        let count = takeTurns(until: BootTime.now().advanced(by: timeout))
        defer { giveBack(turns: count) }
        guard count == size else { throw isOpen ? .connectionPoolExhausted : .closed }
        let open = state.withLock { $0.phase == .open ? $0.idle : [] }
        guard open.count == size else { throw .closed }
        let new = try body(open)
        let isTooLate = state.withLock { state in
            if state.phase == .open { state.idle = new }
            return state.phase != .open
        }
        if isTooLate { for connection in new { connection.close() } }
    }
}

/// A connection on loan; gives itself back when it goes.
struct BorrowedConnection: ~Copyable, Sendable {
    let connection: CatalogueConnection
    private let pool: ConnectionPool

    fileprivate init(_ connection: CatalogueConnection, of pool: ConnectionPool) {
        (self.connection, self.pool) = (connection, pool)
    }

    deinit { pool.giveBack(connection) }
}

extension Duration {
    var forDispatch: DispatchTimeInterval {
        .nanoseconds(Int(clamping: wholeNanoseconds))
    }
}
