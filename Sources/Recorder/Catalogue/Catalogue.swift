import Dispatch
import Posix
import Synchronization

/// The lasting record of all recordings, in SQLite; every call blocks, from any thread.
final class Catalogue: Sendable {
    static let inMemory = ":memory:"

    /// How SQLite keeps transactions: `wal` where the file system can.
    let journalMode: String
    /// Of the database's file; `nil` in memory.
    let path: String?
    /// What the names of the catalogue's files referred to when they were opened.
    let files = Mutex<CatalogueFiles?>(nil)
    let pool: ConnectionPool
    let timeout: Duration
    /// Lets one thread write at a time: SQLite would make the others sleep and try again.
    private let writerTurn = DispatchSemaphore(value: 0)
    private let observe: @Sendable (TransactionReport) -> Void

    /// Opens the file, makes it when it is not there, and brings its schema up to date.
    ///
    /// - Parameters:
    ///   - path: The database's file; its log stands beside it. `inMemory` is a catalogue that ends with the process.
    ///   - poolSize: Connections, and so threads that work at the same time.
    ///   - timeout: How long a call waits for its turn, for a connection, and for another process's lock.
    ///   - observe: Told of each transaction, on the thread that made it.
    /// - Throws: `.newerSchema`, or why SQLite refused: `.corrupt` for a file that is no database.
    init(
        path: String,
        poolSize: Int = 4,
        timeout: Duration = .seconds(5),
        observe: @escaping @Sendable (TransactionReport) -> Void = { _ in }
    ) throws(CatalogueError) {
        // Each connection to memory is a catalogue of its own.
        let isInMemory = path == Self.inMemory
        let connections = try Self.connect(path, isInMemory ? 1 : poolSize, busyTimeout: timeout)
        journalMode = connections[0].journalMode
        pool = ConnectionPool(connections)
        self.path = isInMemory ? nil : path
        self.timeout = timeout
        self.observe = observe
        if !isInMemory { files.withLock { $0 = CatalogueFiles(at: path) } }
        writerTurn.signal()
    }

    /// Opens so many connections to the file at `path`, brings its schema up to date, and checks it.
    static func connect(
        _ path: String,
        _ count: Int,
        busyTimeout: Duration
    ) throws(CatalogueError) -> [CatalogueConnection] {
        let first = try CatalogueConnection(path: path, busyTimeout: busyTimeout)
        var connections = [first]
        while connections.count < count {
            connections.append(try CatalogueConnection(path: path, busyTimeout: busyTimeout))
        }
        try CatalogueSchema.migrate(first)
        try first.check()
        return connections
    }

    /// Waits for the calls under way and closes; see `ConnectionPool.close`.
    func close(until deadline: BootTime) throws(CatalogueError) {
        try pool.close(until: deadline)
    }

    /// Borrows a connection, for work that the catalogue has no call for.
    func borrowConnection() throws(CatalogueError) -> BorrowedConnection {
        try pool.borrow(within: timeout)
    }

    /// Enters what happened, all of it or nothing.
    func enter(_ entries: [CatalogueEntry]) throws(CatalogueError) {
        try transaction { (database) throws(CatalogueError) in
            for entry in entries { try database.enter(entry) }
        }
    }

    /// The recordings under way, the oldest first.
    func active() throws(CatalogueError) -> [CatalogueRecording] {
        try reading { (database) throws(CatalogueError) in
            try database.recordings(
                where: "status IN ('recording', 'abandoned') AND status = 'recording'"
            )
        }
    }

    /// The recordings of which there is a file, the oldest first.
    func stored() throws(CatalogueError) -> [CatalogueRecording] {
        try reading { (database) throws(CatalogueError) in
            try database.recordings(
                where: "id IN (SELECT recording_id FROM parts WHERE status <> 'deleted')"
            )
        }
    }

    /// Runs `body`, which only reads; it waits for no writer.
    func reading<Result: Sendable>(
        _ body: (inout SQLiteDatabase) throws(CatalogueError) -> Result
    ) throws(CatalogueError) -> Result {
        try observed { (connection) throws(CatalogueError) in try connection.withDatabase(body) }
    }

    /// Runs `body` in a transaction; the time that is reported includes the wait for the turn to write.
    ///
    /// `body` works on the database it is given: a call of the catalogue from there waits for itself.
    func transaction<Result: Sendable>(
        _ body: (inout SQLiteDatabase) throws(CatalogueError) -> Result
    ) throws(CatalogueError) -> Result {
        let start = BootTime.now()
        return try asWriter { () throws(CatalogueError) in
            try observed(since: start) { (connection) throws(CatalogueError) in
                try connection.transaction(body)
            }
        }
    }

    /// Runs `body` while no other thread writes.
    func asWriter<Result>(
        _ body: () throws(CatalogueError) -> Result
    ) throws(CatalogueError) -> Result {
        let start = BootTime.now()
        guard writerTurn.wait(timeout: .now() + timeout.forDispatch) == .success else {
            report(since: start, failure: CatalogueError.connectionPoolExhausted.reason)
            throw .connectionPoolExhausted
        }
        defer { writerTurn.signal() }
        return try body()
    }

    private func observed<Result: Sendable>(
        since start: BootTime = .now(),
        _ body: (CatalogueConnection) throws(CatalogueError) -> Result
    ) throws(CatalogueError) -> Result {
        do throws(CatalogueError) {
            let borrowed = try pool.borrow(within: timeout)
            let result = try body(borrowed.connection)
            report(since: start, failure: nil)
            return result
        } catch {
            report(since: start, failure: error.reason)
            throw error
        }
    }

    private func report(since start: BootTime, failure: CatalogueError.Reason?) {
        let nanoseconds = BootTime.now().since(start).wholeNanoseconds
        observe(TransactionReport(nanoseconds: nanoseconds, failure: failure))
    }
}
