import Glibc
import Posix
import Testing

@testable import Recorder

@Suite("Retention", .timeLimit(.minutes(5)))
struct RetentionTests {
    private let directory = FilesDirectory()
    private static let now = UTCTime(filesStart).advanced(by: 100_000)

    /// A recording that ended so many seconds ago, of one part of so many bytes.
    private func recording(
        _ id: Int64,
        ended secondsAgo: Int,
        bytes: Int = 100,
        stream: String = "cam",
        _ status: CatalogueRecording.Status = .completed,
        part: CataloguePart.Status = .finished
    ) -> CatalogueRecording {
        let endedAt = Self.now.advanced(by: -secondsAgo)
        return CatalogueRecording(
            id: id,
            stream: stream,
            title: nil,
            status: status,
            startedAt: UTCTime(filesStart),
            endedAt: status == .recording ? nil : endedAt,
            failureReason: nil,
            parts: [
                CataloguePart(
                    recordingID: id,
                    number: 1,
                    path: "/r/\(id).ts\(part == .finished ? "" : ".part")",
                    container: "ts",
                    status: part,
                    endedAt: endedAt,
                    bytes: bytes
                )
            ]
        )
    }

    private func doomed(
        _ rules: RetentionRules,
        _ recordings: [CatalogueRecording],
        byStream: [String: RetentionRules] = [:]
    ) -> [Int64: RetentionReason] {
        let plan = RetentionPlan(overall: rules, byStream: byStream)
        let found = plan.doomed(
            of: recordings,
            at: Self.now,
            mayGoOnSince: Self.now.advanced(by: -600)
        )
        return Dictionary(uniqueKeysWithValues: found.map { ($0.recording.id, $0.reason) })
    }

    @Test("age counts from the end, to the second")
    func age() {
        let recordings = [recording(1, ended: 3601), recording(2, ended: 3600)]
        #expect(doomed(RetentionRules(maxAge: .seconds(3600)), recordings) == [1: .age])
    }

    @Test("of too many, the oldest go", arguments: [(1, 3), (2, 2), (3, 1), (4, 0), (9, 0)])
    func count(_ most: Int, _ gone: Int) {
        let recordings = (1...4).map { recording($0, ended: 1000 - Int($0)) }
        let found = doomed(RetentionRules(maxCount: most), recordings)
        #expect(Set(found.keys) == Set((1...4).prefix(gone).map(Int64.init)))
        #expect(found.values.allSatisfy { $0 == .count })
    }

    @Test(
        "of too much, the oldest go, but never the newest",
        arguments: [(1000, 0), (250, 2), (99, 3)]
    )
    func size(_ most: UInt64, _ gone: Int) {
        let recordings = (1...4).map { recording($0, ended: 1000 - Int($0)) }
        let found = doomed(RetentionRules(maxBytes: most), recordings)
        #expect(Set(found.keys) == Set((1...4).prefix(gone).map(Int64.init)))
    }

    @Test(
        "what is open, may go on, or waits for recovery stays, and counts all the same",
        arguments: [
            (.recording, .recording, 0), (.abandoned, .recording, 9000), (.failed, .failed, 9000),
            (.interrupted, .finished, 599), (.failed, .finished, 599),
        ] as [(CatalogueRecording.Status, CataloguePart.Status, Int)]
    )
    func spared(
        _ status: CatalogueRecording.Status,
        _ part: CataloguePart.Status,
        _ secondsAgo: Int
    ) {
        let one = recording(2, ended: secondsAgo, status, part: part)
        let rules = RetentionRules(maxAge: .seconds(1), maxCount: 1, maxBytes: 1)
        #expect(doomed(rules, [recording(1, ended: 9000), one]) == [1: .age])
    }

    @Test("a recording that was cut short longer ago than it may go on is removed as any other")
    func cutShort() {
        let rules = RetentionRules(maxAge: .seconds(1))
        #expect(doomed(rules, [recording(1, ended: 601, .interrupted)]) == [1: .age])
    }

    @Test("a stream's own rules come first, and what they remove is not counted by the others")
    func byStream() {
        let recordings =
            (1...3).map { recording($0, ended: 1000 - Int($0)) }
            + (4...5).map { recording($0, ended: 1000 - Int($0), stream: "b") }
        let found = doomed(
            RetentionRules(maxCount: 3),
            recordings,
            byStream: ["cam": RetentionRules(maxCount: 1)]
        )
        #expect(Set(found.keys) == [1, 2])
    }

    @Test("a file is removed only as it was finished, and by nobody else's leave")
    func storedFile() throws {
        let path = try directory.write(filesPackets(0..<2), to: "a.ts")
        let file = StoredFile(path: path, bytes: 376)
        #expect(throws: StoredFile.Objection.changed(bytes: 376)) {
            try StoredFile(path: path, bytes: 188).remove()
        }
        let holder = try FilesHolder(["flock", path, "sh", "-c", "echo ready; cat"])
        #expect(throws: StoredFile.Objection.locked) { try file.remove() }
        try holder.release()
        #expect(try directory.entries == ["a.ts"])
        symlink(path, "\(directory.path)/b.ts")
        #expect(throws: StoredFile.Objection.self) {
            try StoredFile(path: "\(directory.path)/b.ts", bytes: 376).remove()
        }
        try file.remove()
        #expect(try directory.entries == ["b.ts"])
        try file.remove()
    }
}
