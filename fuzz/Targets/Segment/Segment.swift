import Posix

@testable import Exporter
@testable import StreamVaultTelemetry

/// Any records that hold, each for itself, give a snapshot or a typed reason, and a snapshot all pages.
///
/// The bytes are changes to a segment in which everything is used, for no generator guesses a checksum: five each, which
/// record and which of its bytes (16 bits, little-endian, modulo what there is), and the new byte.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzSegment(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let input = UnsafeBufferPointer(start: start, count: count)
    var file = sample.bytes
    for change in stride(from: 0, to: count - 4, by: 5) {
        let record = sample.records[number(input, change) % sample.records.count]
        let offset = number(input, change + 2) % (record.count - 8)
        file[record.lowerBound + offset] = input[change + 4]
        seal(record, in: &file)
    }
    guard let snapshot = try? Snapshot(of: file) else { return 0 }
    let known = KnownRecorder(
        name: snapshot.contents.identity.name,
        reader: SegmentReader(path: ""),
        snapshot: snapshot
    )
    for format in ExpositionFormat.allCases {
        var page = MetricsPage(format)
        precondition(!page.render([MetricSource(known)]).isEmpty)
    }
    _ = SegmentDump(snapshot: snapshot).json.bytes()
    _ = HealthReport([known], uptime: .zero, HealthPolicy()).json.bytes()
    return 0
}

private func number(_ input: UnsafeBufferPointer<UInt8>, _ index: Int) -> Int {
    Int(input[index]) | Int(input[index + 1]) << 8
}

private func seal(_ record: Range<Int>, in file: inout [UInt8]) {
    var checksum = RecordWriter()
    checksum.integer(UInt64(Checksum.crc32(file[record.dropLast(8)])))
    file.replaceSubrange(record.suffix(8), with: checksum.bytes)
}

extension Snapshot {
    /// Parses a whole file, as a reader does that caught it at rest.
    fileprivate init(of file: [UInt8]) throws(SegmentError) {
        let header = try SegmentHeader(file)
        let contents = SegmentContents(try SegmentParts(file, header))
        let first = header.layout[.words].offset
        var words = (0..<contents.fileWords).map { file.word(at: first + $0 * 8) }
        words += [UInt64](repeating: 0, count: contents.addedWords)
        let now = BootTime(nanoseconds: .max)
        self.init(contents, words: words, isOwned: false, now: now, bootID: BootID(bytes: [7]))
    }
}
