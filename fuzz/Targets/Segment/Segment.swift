import FuzzSupport
import JSON
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
    switch kind % 4 {
    case 0: keep(TextPage(.prometheus), of: segment, changes)
    case 1: keep(TextPage(.openMetrics(created: true)), of: segment, changes)
    case 2: keep(ProtobufPage(), of: segment, changes)
    default:
        let known = segment.known()
        _ = known.snapshot.map { JSONWriter.write(SegmentDump(snapshot: $0).json, .line) }
        _ = JSONWriter.write(HealthReport([known], uptime: .zero, HealthPolicy()).json, .line)
    }
    return 0
}

private protocol Page {
    mutating func render(_ sources: [MetricSource]) -> [UInt8]
}

extension TextPage: Page {}
extension ProtobufPage: Page {}

/// A page that is brought up to date is the one that a new exporter would render.
private func keep(_ page: some Page, of segment: ParsedSegment, _ changes: [SegmentChange]) {
    var (old, new) = (page, page)
    _ = old.render([segment.source()])
    var later = segment
    for change in changes { change.apply(to: &later.words) }
    let sources = [later.source()]
    require(old.render(sources) == new.render(sources), "the page of these words")
}

/// The parts of a file, and its words: what a reader has that caught it at rest.
private struct ParsedSegment {
    let contents: SegmentContents
    var words: [UInt64]

    init(_ file: [UInt8]) throws(SegmentError) {
        let header = try SegmentHeader(file)
        contents = SegmentContents(try SegmentRecords(file, header))
        let first = header.layout[.words].offset
        words = (0..<contents.fileWords).map { file.word(at: first + $0 * 8) }
    }

    /// What a page shows of it.
    func source() -> MetricSource {
        let known = known()
        var visible = VisibleFamilies()
        visible.decide([known])
        return MetricSource(known, hidden: visible.hiddenIndexes[0])
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
        return KnownRecorder(
            name: contents.identity.name,
            arrival: 1,
            reader: reader,
            snapshot: snapshot
        )
    }
}
