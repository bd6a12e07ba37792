import StreamVaultTelemetry

/// Families, series and values of one origin: a recorder's segment, or the exporter itself.
struct MetricSource {
    /// What was declared, as an object: as long as it is the same one, so are families and series.
    let declaration: AnyObject
    /// Value of the label `recorder`; `nil` for the exporter's own.
    let recorder: String?
    let families: [MetricFamily]
    let series: [SegmentContents.Series]
    /// Cells of the series, by their word.
    let words: [UInt64]
    let hidden: VisibleFamilies.Indexes

    /// What is known of a recorder: `recorder_up 0` and its last good values when its segment cannot be read.
    init(_ known: KnownRecorder, hidden: VisibleFamilies.Indexes) {
        (recorder, self.hidden) = (known.name, hidden)
        guard let snapshot = known.snapshot else {
            declaration = Self.unread
            families = [RunMetrics.recorderUp]
            series = [.init(family: 0, values: [], word: 0)]
            words = [0]
            return
        }
        declaration = snapshot.contents
        families = snapshot.contents.families
        series = snapshot.contents.series
        words = known.failure == nil ? snapshot.words : snapshot.wordsOfUnseenRecorder
    }

    private final class Unread: Sendable {}
    private static let unread = Unread()

    init(
        declaration: AnyObject,
        families: [MetricFamily],
        series: [SegmentContents.Series],
        words: [UInt64]
    ) {
        (self.declaration, recorder, hidden) = (declaration, nil, .init())
        (self.families, self.series, self.words) = (families, series, words)
    }
}
