import Foundation
import Posix
import Testing

@testable import Catalogue
@testable import Recorder

@Suite("Messages seen before", .timeLimit(.minutes(5)))
struct CatalogueSeenMessagesTests {
    private let directory = FilesDirectory()

    private func open() throws -> Catalogue { try Catalogue(path: "\(directory.path)/c.sqlite") }

    private func seconds(_ seconds: Int) -> WallTime {
        WallTime(nanoseconds: filesStart.nanoseconds + UInt64(seconds) * 1_000_000_000)
    }

    @Test("a message is new once, also across a restart")
    func once() throws {
        let first = try open()
        #expect(try first.remember(messageID: "a", at: seconds(0)))
        #expect(try !first.remember(messageID: "a", at: seconds(1)))
        #expect(try first.remember(messageID: "It's \"b\"", at: seconds(1)))
        try first.close(until: .now().advanced(by: .seconds(5)))
        #expect(try !open().remember(messageID: "a", at: seconds(2)))
    }

    @Test("of many threads with one message, one is told that it is new")
    func threads() async throws {
        let catalogue = try open()
        let isNew = try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<8 {
                group.addTask { try catalogue.remember(messageID: "a", at: filesStart) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(isNew.count(where: \.self) == 1)
    }

    @Test("an id is kept for an hour after it was first seen, and no longer")
    func age() throws {
        let catalogue = try open()
        _ = try catalogue.remember(messageID: "a", at: seconds(0))
        #expect(try !catalogue.remember(messageID: "a", at: seconds(3600)))
        #expect(try catalogue.remember(messageID: "a", at: seconds(3601)))
    }

    @Test("above the most that are kept, the oldest go")
    func count() throws {
        let catalogue = try open()
        _ = try catalogue.transaction { (database) throws(CatalogueError) in
            try database.run(
                """
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
                INSERT INTO seen_messages SELECT 'm' || i, ? - (i = 1) FROM n
                """,
                [.integer(Int64(UTCTime(filesStart).seconds))]
            )
        }
        #expect(try catalogue.remember(messageID: "new", at: seconds(0)))
        let left = try catalogue.transaction { (database) throws(CatalogueError) in
            try database.run("SELECT count(*), sum(id = 'm1') FROM seen_messages").first
        }
        #expect(left == [.integer(10_000), .integer(0)])
    }
}
