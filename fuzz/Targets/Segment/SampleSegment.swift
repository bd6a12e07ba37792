import Glibc
import Posix

@testable import StreamVaultTelemetry

/// Made once.
let sample = SampleSegment()

/// A segment in which everything is used: history, labels, a histogram, open recordings, a shutdown.
struct SampleSegment {
    let bytes: [UInt8]
    /// The header and every record that has been written, with their checksums.
    let records: [Range<Int>]

    init() {
        do {
            bytes = try Self.publish()
            let layout = try SegmentHeader(bytes).layout
            records = [0..<SegmentLayout.headerSize] + Self.records(layout, in: bytes)
        } catch {
            fatalError("no segment: \(error)")
        }
    }

    private static func publish() throws -> [UInt8] {
        let directory = "/tmp/fuzz-segment-\(getpid())"
        mkdir(directory, 0o700)
        let path = "\(directory)/sample.telemetry"
        defer {
            unlink(path)
            rmdir(directory)
        }
        for _ in 0..<2 { try live(directory) }
        return try FileDescriptor(opening: path, O_RDONLY).readAll(atMost: 1 << 24) ?? []
    }

    private static func live(_ directory: String) throws {
        var capacity = SegmentCapacity()
        (capacity.families, capacity.series, capacity.recordings) = (48, 120, 4)
        let publisher = try Publisher(
            directory: directory,
            name: "sample",
            version: "1",
            phases: ["recordings", "database"].map { PhaseBudget($0, budget: .seconds(1)) },
            capacity: capacity
        )
        publisher.counter("a_total", "A.", labels: ["x": "\\\"\n"]).add(1)
        publisher.gauge("b", "B.", unit: "").set(-0.5)
        publisher.histogram("c_seconds", "C.").observe(1_000_000)
        for id in 0..<3 as Range<UInt64> {
            let recording = publisher.startRecording(
                id: id,
                stream: "s\(id)",
                path: "/r",
                container: "ts"
            )
            if id == 2 { recording.end(.failed) }
        }
        publisher.beginShutdown(signal: SIGTERM, gracePeriod: .seconds(1))
        publisher.beginPhase("database")
    }

    private static func records(_ layout: SegmentLayout, in bytes: [UInt8]) -> [Range<Int>] {
        SegmentLayout.Part.allCases.filter { $0 != .words }.flatMap { part in
            let section = layout[part]
            let starts = (0..<section.count * section.copies).map {
                section.offset + $0 * section.stride
            }
            return starts.map { $0..<$0 + section.stride }.filter {
                bytes.word(at: $0.lowerBound) > 0
            }
        }
    }
}
