import FuzzSupport
import Posix

@testable import Exporter
@testable import StreamVaultTelemetry

/// Any records that hold, each for itself, give a snapshot or a typed reason, and a snapshot any page.
///
/// The first byte says which page: one for each input, for a page is a thousand times what a record costs. The rest are
/// changes to a segment in which everything is used.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzSegment(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = input(start, count)
    guard let kind = bytes.first else { return 0 }
    let changes = SegmentChange.all(in: bytes.dropFirst())
    var file = sample.bytes
    for change in changes { change.apply(to: &file) }
    guard let segment = try? ParsedSegment(file) else { return 0 }
    let known = segment.known()
    switch kind % 4 {
    case 0: render(segment, changes, in: .prometheus)
    case 1: render(segment, changes, in: .openMetrics(created: true))
    case 2:
        var page = ProtobufPage()
        require(!page.render([MetricSource(known)]).isEmpty, "a page")
    default:
        _ = known.snapshot.map { SegmentDump(snapshot: $0).json.bytes() }
        _ = HealthReport([known], uptime: .zero, HealthPolicy()).json.bytes()
    }
    return 0
}

/// A page that is brought up to date is the one that a new exporter would render.
private func render(_ segment: ParsedSegment, _ changes: [SegmentChange], in dialect: TextDialect) {
    var page = MetricsPage(dialect)
    _ = page.render([MetricSource(segment.known())])
    var later = segment
    for change in changes { change.apply(to: &later.words) }
    var fresh = MetricsPage(dialect)
    let expected = fresh.render([MetricSource(later.known())])
    require(page.render([MetricSource(later.known())]) == expected, "the page of these words")
    require(expected.last == 0x0A, "whole lines")
}

/// The parts of a file, and its words: what a reader has that caught it at rest.
private struct ParsedSegment {
    let contents: SegmentContents
    var words: [UInt64]

    init(_ file: [UInt8]) throws(SegmentError) {
        let header = try SegmentHeader(file)
        contents = SegmentContents(try SegmentParts(file, header))
        let first = header.layout[.words].offset
        words = (0..<contents.fileWords).map { file.word(at: first + $0 * 8) }
    }

    func known() -> KnownRecorder {
        let snapshot = Snapshot(
            contents,
            words: words + [UInt64](repeating: 0, count: contents.addedWords),
            isOwned: false,
            now: BootTime(nanoseconds: .max),
            bootID: BootID(bytes: [7])
        )
        let reader = SegmentReader(path: "")
        return KnownRecorder(name: contents.identity.name, reader: reader, snapshot: snapshot)
    }
}
