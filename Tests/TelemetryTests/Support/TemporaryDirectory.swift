import Foundation
import Glibc
import Posix

@testable import StreamVaultTelemetry

/// A directory of one test, which is removed afterwards.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory
            .appendingPathComponent("telemetry-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var entries: [String] { (try? FileSystem.entries(of: path)) ?? [] }

    func segmentPath(_ name: String = "test") -> String { "\(path)/\(name).telemetry" }

    func write(_ bytes: [UInt8], to name: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
    }

    func bytes(of name: String = "test.telemetry") throws -> [UInt8] {
        try [UInt8](Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)")))
    }

    func snapshot(_ name: String = "test") throws -> Snapshot {
        var reader = SegmentReader(path: segmentPath(name))
        return try reader.snapshot()
    }

    /// Writes the start of the run into the header of its segment.
    func setStart(_ start: BootTime, of name: String = "test") throws {
        try write(start.nanoseconds, at: 56, of: name)
        let file = try FileDescriptor(opening: segmentPath(name), O_RDONLY)
        let header = try file.bytes(at: 0, count: SegmentLayout.headerSize)
        try write(UInt64(Checksum.crc32(header[..<504])), at: 504, of: name)
    }

    /// Writes a heartbeat into a segment.
    func setHeartbeat(_ heartbeat: BootTime, of name: String = "test") throws {
        try setWord(SegmentWord.heartbeat, to: heartbeat.nanoseconds, of: name)
    }

    /// Writes the word of this index into a segment.
    func setWord(_ word: Int, to value: UInt64, of name: String = "test") throws {
        try write(value, at: SegmentLayout.headerSize + word * 8, of: name)
    }

    private func write(_ word: UInt64, at offset: Int, of name: String) throws {
        let file = try FileDescriptor(opening: segmentPath(name), O_WRONLY)
        var word = word.littleEndian
        guard pwrite(file.rawValue, &word, 8, off_t(offset)) == 8 else {
            throw SystemError(call: "pwrite", code: errno)
        }
    }

    /// Starts a run of the recorder `test` with a small capacity.
    func start(
        version: String = "1.0",
        phases: [String] = ["recordings", "database"],
        capacity: SegmentCapacity = .small
    ) throws -> Publisher {
        try Publisher(
            directory: path,
            name: "test",
            version: version,
            phases: phases.map { PhaseBudget($0, budget: .seconds(10)) },
            capacity: capacity
        )
    }
}

extension SegmentCapacity {
    static var small: SegmentCapacity {
        var capacity = SegmentCapacity()
        (capacity.families, capacity.series, capacity.words) = (48, 120, 1600)
        capacity.recordings = 4
        return capacity
    }
}

extension Snapshot {
    /// The cells of a series, without the prefix of its family's name; empty when there is none.
    func cells(_ name: String, _ values: String...) -> [UInt64] {
        for series in contents.series where series.values == values {
            let family = contents.families[series.family]
            if family.name == "streamvault_" + name || family.name == name {
                return Array(words[series.word..<series.word + family.wordsPerSeries])
            }
        }
        return []
    }

    /// The counts of a histogram's classic buckets, not cumulative.
    func buckets(_ name: String, _ values: String...) -> [UInt64] {
        for series in contents.series where series.values == values {
            let family = contents.families[series.family]
            guard family.name == "streamvault_" + name || family.name == name else { continue }
            return family.buckets?.classicCells.map { cells in
                cells.reduce(0) { $0 + words[series.word + 1 + $1] }
            } ?? []
        }
        return []
    }

    /// Time since which a series counts, in nanoseconds since 1970.
    func created(_ name: String, _ values: String...) -> UInt64? {
        contents.series.first {
            let family = contents.families[$0.family].name
            return $0.values == values && (family == "streamvault_" + name || family == name)
        }?.created.nanoseconds
    }

    /// The one cell of a series.
    func value(_ name: String, _ values: String...) -> UInt64? {
        for series in contents.series where series.values == values {
            let family = contents.families[series.family]
            if family.name == "streamvault_" + name || family.name == name {
                return words[series.word]
            }
        }
        return nil
    }

    /// All counters and histograms, by series, in a form that a failure can print.
    var counts: [String: [UInt64]] {
        var counts: [String: [UInt64]] = [:]
        for series in contents.series {
            let family = contents.families[series.family]
            guard family.kind == .counter || family.kind == .histogram else { continue }
            let key = ([family.name] + series.values).joined(separator: " ")
            counts[key] = Array(words[series.word..<series.word + family.wordsPerSeries])
        }
        return counts
    }
}
