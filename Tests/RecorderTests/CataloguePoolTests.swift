import Dispatch
import Foundation
import Posix
import Synchronization
import Testing

@testable import Catalogue
@testable import Recorder

@Suite("Connection pool", .timeLimit(.minutes(5)))
struct CataloguePoolTests {
    private let directory = FilesDirectory()

    private func pool(size: Int) throws -> ConnectionPool {
        let path = "\(directory.path)/c.sqlite"
        return ConnectionPool(try Catalogue.connect(path, size, busyTimeout: .seconds(5)))
    }

    private func inMilliseconds(_ count: Int) -> BootTime {
        .now().advanced(by: .milliseconds(count))
    }

    @Test("a pool lends as many connections as it has, then makes the next borrower wait")
    func size() throws {
        let pool = try pool(size: 2)
        let first = try pool.borrow(within: .zero)
        let second = try pool.borrow(within: .zero)
        #expect(first.connection !== second.connection)
        #expect(throws: CatalogueError.connectionPoolExhausted) {
            _ = try pool.borrow(within: .milliseconds(20)).connection
        }
    }

    @Test("a borrower that waits gets the connection that is given back")
    func waiting() throws {
        let pool = try pool(size: 1)
        var loan: BorrowedConnection? = try pool.borrow(within: .zero)
        let connection = loan?.connection
        let isServed = DispatchSemaphore(value: 0)
        let waiter = Thread {
            guard let mine = try? pool.borrow(within: .seconds(30)) else { return }
            if mine.connection === connection { isServed.signal() }
        }
        waiter.start()
        loan = nil
        #expect(isServed.wait(timeout: .now() + 30) == .success)
        _ = loan == nil
    }

    @Test("a connection that is not given back in time fails the close, in time")
    func exhausted() throws {
        let pool = try pool(size: 4)
        let loan = try pool.borrow(within: .zero)
        let deadline = inMilliseconds(50)
        let error = #expect(throws: CatalogueError.connectionPoolExhausted) {
            try pool.close(until: deadline)
        }
        #expect(error.map { "\($0)" } == "connection pool exhausted")
        #expect(BootTime.now() >= deadline)
        #expect(BootTime.now() < deadline.advanced(by: .seconds(5)))
        #expect(throws: CatalogueError.closed) {
            _ = try pool.borrow(within: .zero).connection
        }
        // The late borrower can still finish; giving back closes its connection.
        let connection = loan.connection
        #expect(try rows(of: connection) == 1)
        _ = consume loan
        #expect(throws: CatalogueError.closed) { try rows(of: connection) }
    }

    private func rows(of connection: CatalogueConnection) throws(CatalogueError) -> Int {
        try connection.withDatabase { (database) throws(CatalogueError) in
            try database.run("SELECT 1").count
        }
    }

    @Test("a close waits for what is borrowed, and a second one does nothing")
    func closeWaits() throws {
        let pool = try pool(size: 2)
        let isBorrowed = DispatchSemaphore(value: 0)
        let mayFinish = DispatchSemaphore(value: 0)
        let borrower = Thread {
            guard let loan = try? pool.borrow(within: .zero) else { return }
            isBorrowed.signal()
            mayFinish.wait()
            _ = try? loan.connection.transaction { (database) throws(CatalogueError) in
                try database.run("CREATE TABLE late (x)").count
            }
        }
        borrower.start()
        isBorrowed.wait()
        let releaser = Thread {
            // Only once the pool refuses is the close under way.
            while (try? pool.borrow(within: .zero).connection) != nil {}
            mayFinish.signal()
        }
        releaser.start()
        try pool.close(until: inMilliseconds(30_000))
        try pool.close(until: .now())
        let query = "SELECT * FROM late"
        #expect(try filesRun(["sqlite3", "\(directory.path)/c.sqlite", query]) == 0)
    }

    @Test("many threads share four connections, and every entry is kept")
    func manyThreads() async throws {
        let catalogue = try Catalogue(path: "\(directory.path)/c.sqlite", timeout: .seconds(30))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for thread in 0..<8 {
                group.addTask {
                    for number in 0..<25 {
                        _ = try catalogue.start(catalogueEntry("/r/\(thread)-\(number).ts.part"))
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try Set(catalogue.active().flatMap(\.parts).map(\.path)).count == 200)
        try catalogue.close(until: inMilliseconds(30_000))
    }
}
