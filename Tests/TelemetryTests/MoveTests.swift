import Foundation
import Glibc
import Posix
import Synchronization
import TestSupport
import Testing

@testable import StreamVaultTelemetry

@Suite("Files that are removed and truncated while threads publish", .timeLimit(.minutes(5)))
struct MoveTests {
    /// Threads that count in all ways, each of which knows its own total.
    private final class Writers: Sendable {
        static let count = 3
        let isDone = Atomic(false)
        let group = DispatchGroup()

        final class Totals: Sendable {
            let shared = Atomic<UInt64>(0)
            let alone = Atomic<UInt64>(0)
        }

        let totals = (0..<count).map { _ in Totals() }

        init(_ publisher: Publisher) {
            let shared = publisher.counter("test_shared_total", "Test.")
            for (number, totals) in totals.enumerated() {
                group.enter()
                Thread.detachNewThread { [self] in
                    write(publisher, shared, number, totals)
                    group.leave()
                }
            }
        }

        private func write(
            _ publisher: Publisher,
            _ shared: Counter,
            _ number: Int,
            _ totals: Totals
        ) {
            let labels: KeyValuePairs = ["n": "\(number)"]
            var alone = publisher.singleWriterCounter("test_alone_total", "Test.", labels: labels)
            let gauge = publisher.gauge("test", "Test.", labels: labels)
            var count: UInt64 = 0
            while !isDone.load(ordering: .relaxed) {
                for _ in 0..<50 {
                    shared.add()
                    alone.add()
                    count += 1
                    gauge.set(Double(count))
                }
                if count % 1000 == 0 { publisher.enter(count % 2000 == 0 ? .recording : .draining) }
            }
            totals.shared.store(count, ordering: .relaxed)
            totals.alone.store(count, ordering: .relaxed)
        }

        func stop() {
            isDone.store(true, ordering: .relaxed)
            group.wait()
        }
    }

    /// A thread that reads as fast as it can: each snapshot shows a running recorder, and no count that is lower than before.
    private final class ConstantReading: Sendable {
        private let isDone = Atomic(false)
        private let group = DispatchGroup()

        init(of directory: TemporaryDirectory) {
            group.enter()
            Thread.detachNewThread { [self] in
                read(directory)
                group.leave()
            }
        }

        func stop() {
            isDone.store(true, ordering: .relaxed)
            group.wait()
        }

        private func read(_ directory: TemporaryDirectory) {
            var reader = SegmentReader(path: directory.segmentPath())
            var last: Snapshot?
            var isSameFile = false
            while !isDone.load(ordering: .relaxed) {
                do throws(SegmentError) {
                    // As if the path had been looked up long before the file is read.
                    isSameFile.toggle()
                    let snapshot = try reader.snapshot(isSameFile: isSameFile, after: last)
                    #expect(snapshot.verdict == .alive)
                    expect(snapshot.counts, notBelow: last?.counts ?? [:])
                    last = snapshot
                } catch {
                    // As the exporter does.
                    reader = SegmentReader(path: directory.segmentPath())
                }
            }
        }

        private func expect(_ counts: [String: [UInt64]], notBelow last: [String: [UInt64]]) {
            for (name, before) in last {
                let now = counts[name] ?? []
                #expect(now.count == before.count, "\(name) is missing")
                #expect(!zip(now, before).contains { $0 < $1 }, "\(name): \(before), \(now)")
            }
        }
    }

    @Test("no count is lost or counted twice, and no reader sees a lower one than before")
    func moves() throws {
        let directory = try TemporaryDirectory()
        let publisher = try directory.startUnwatched()
        let writers = Writers(publisher)
        let reading = ConstantReading(of: directory)
        let rounds = Effort.isExhaustive ? 1000 : 100
        for _ in 0..<rounds {
            publisher.heartbeat()
            unlink(directory.segmentPath())
            #expect(publisher.check()?.published == .removed)
        }
        writers.stop()
        reading.stop()
        let snapshot = try directory.snapshot()
        let total = writers.totals.reduce(0) { $0 + $1.shared.load(ordering: .relaxed) }
        #expect(snapshot.value("test_shared_total") == total)
        for (number, totals) in writers.totals.enumerated() {
            let count = totals.alone.load(ordering: .relaxed)
            #expect(snapshot.value("test_alone_total", "\(number)") == count)
            #expect(snapshot.value("test", "\(number)") == Double(count).bitPattern)
        }
    }

    @Test("a truncated file is published again, and no reader sees a lower count than before")
    func cuts() throws {
        let directory = try TemporaryDirectory()
        let publisher = try directory.startUnwatched()
        let writers = Writers(publisher)
        let reading = ConstantReading(of: directory)
        let size = try directory.bytes().count
        var random = SeededGenerator(state: 1)
        let rounds = Effort.isExhaustive ? 1000 : 100
        for round in 0..<rounds {
            let length = round % 3 == 0 ? 0 : Int.random(in: 0..<size, using: &random)
            publisher.heartbeat()
            #expect(truncate(directory.segmentPath(), length) == 0)
            if round % 6 == 0 { #expect(truncate(directory.segmentPath(), size) == 0) }
            // Truncation during the publication makes the next check publish.
            var published: PublisherEvent.Cause?
            while published == nil { published = publisher.check()?.published }
            #expect(published == .truncated)
            publisher.heartbeat()
            #expect(try directory.snapshot().verdict == .alive)
        }
        writers.stop()
        reading.stop()
        #expect(publisher.check() == nil)
        let counter = publisher.counter("test_shared_total", "Test.")
        let before = try #require(try directory.snapshot().value("test_shared_total"))
        counter.add(5)
        #expect(try directory.snapshot().value("test_shared_total") == before + 5)
    }

    @Test(
        "faults in other memory end the process as before",
        arguments: [("bus", SIGBUS), ("null", SIGSEGV)]
    )
    func elsewhere(fault: String, signal: CInt) throws {
        let directory = try TemporaryDirectory()
        let fixture = try Fixture("fault", directory.path, fault)
        #expect(try fixture.lines() == ["running"])
        #expect(fixture.wait() == .signal(signal))
    }
}
