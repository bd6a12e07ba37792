import Foundation
import Posix
import Synchronization
import Testing

@testable import StreamVaultTelemetry

@Suite("Several writers and a reader", .timeLimit(.minutes(10)))
struct ConcurrencyTests {
    /// Keeps both halves of a counter equal, so that a torn word can be detected.
    static let step: UInt64 = 0x1_0000_0001

    @Test("no torn record is accepted, and no count is lower than before")
    func consistency() throws {
        let directory = try TemporaryDirectory()
        let publisher = try directory.start()
        let isDone = Atomic(false)
        let writers = DispatchGroup()
        for number in 0..<2 {
            writers.enter()
            Thread.detachNewThread {
                Writer(publisher, number).write { isDone.load(ordering: .relaxed) }
                writers.leave()
            }
        }
        var observer = Observer(path: directory.segmentPath())
        let end = BootTime.now().advanced(by: .seconds(Effort.stressSeconds))
        // A slow machine takes longer for that number.
        while BootTime.now() < end || observer.snapshots <= 10 { observer.look() }
        isDone.store(true, ordering: .relaxed)
        writers.wait()
        observer.look()
        #expect(observer.failures == [:])
        #expect(observer.snapshots > 10)
        print("\(Effort.stressSeconds) s:", observer)
    }

    /// One thread that does all that a recorder does.
    private struct Writer {
        let publisher: Publisher
        let number: Int
        let counter: Counter
        let histogram: Histogram
        let gauge: Gauge

        init(_ publisher: Publisher, _ number: Int) {
            (self.publisher, self.number) = (publisher, number)
            counter = publisher.counter("test_total", "Test.")
            histogram = publisher.histogram("test_seconds", "Test.", bounds: [.nanoseconds(5)])
            gauge = publisher.gauge("test", "Test.", labels: ["n": "\(number)"])
        }

        func write(until isDone: () -> Bool) {
            var id = UInt64(number)
            while !isDone() {
                id += 2
                publisher.heartbeat()
                for _ in 0..<100 { counter.add(step) }
                histogram.observe(id % 10)
                gauge.set(id % 4 < 2 ? Double(bitPattern: 0x1111_1111_1111_1111) : 2)
                let recording = publisher.startRecording(
                    id: id,
                    stream: "stream-\(id)",
                    path: "/recordings/\(id)/\(String(repeating: "\(id % 10)", count: 200))",
                    container: "c\(id % 10)"
                )
                recording.wrote(1)
                recording.finalizing()
                publisher.enter(id % 8 < 4 ? .recording : .draining)
                if id % 16 < 2 { label("\(id % 48)") }
                recording.end(RecordingResult.allCases[Int(id % 3)])
            }
        }

        private func label(_ value: String) {
            publisher.counter("test_labelled_total", "Test.", labels: ["n": value]).add(step)
            publisher.retire("test_labelled_total", [value])
        }
    }

    /// A reader that checks everything.
    private struct Observer: CustomStringConvertible {
        var reader: SegmentReader
        var snapshots = 0
        var recordings = 0
        var failures: [String: Int] = [:]
        private var last: [String: [UInt64]] = [:]

        init(path: String) {
            reader = SegmentReader(path: path)
        }

        var description: String {
            let started = last["streamvault_recordings_started_total"] ?? []
            return "\(snapshots) snapshots, \(recordings) open recordings seen, started \(started)"
        }

        mutating func look() {
            do throws(SegmentError) {
                check(try reader.snapshot())
                snapshots += 1
            } catch {
                failures["\(error)", default: 0] += 1
            }
        }

        private mutating func check(_ snapshot: Snapshot) {
            let counts = snapshot.counts
            for (name, cells) in counts {
                guard let before = last[name] else { continue }
                for (old, new) in Self.pairs(before, cells) {
                    #expect(new >= old, "\(name): \(before) then \(cells)")
                }
            }
            last.merge(counts) { $1 }
            #expect((counts["test_total"]?[0] ?? 0) % step == 0)
            for recording in snapshot.contents.recordings {
                recordings += 1
                let (id, digit) = (recording.id, recording.id % 10)
                let tail = String(repeating: "\(digit)", count: 200)
                #expect(recording.path == "/recordings/\(id)/\(tail)")
                #expect(recording.stream == "stream-\(id)")
                #expect(recording.container == "c\(digit)")
            }
            for number in ["0", "1"] {
                let value = snapshot.value("test", number) ?? 0
                #expect([0, 0x1111_1111_1111_1111, (2.0).bitPattern].contains(value))
            }
            #expect([.starting, .recording, .draining].contains(snapshot.contents.lifecycle.state))
            #expect(snapshot.verdict == .alive)
        }

        private static func pairs(_ a: [UInt64], _ b: [UInt64]) -> [(UInt64, UInt64)] {
            a.indices.map { (a[$0], b[$0]) }
        }
    }
}
