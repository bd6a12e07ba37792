import Posix
import StreamVaultTelemetry

/// A page of metrics but for the values: its constant text, and which cell's value follows which piece of it.
///
/// Made once per declaration; rendering then copies text and formats numbers, and nothing else.
struct PagePlan {
    /// A value, after the constant text before it.
    struct Step {
        /// End of the constant text, which begins where the step before ended.
        let textEnd: Int
        let source: Int
        /// Among the words of the source.
        let word: Int
        let value: Value
    }

    /// Steps in a row, and the words in a row that they show: while none of these has changed, no number has.
    struct Stretch {
        let steps: Range<Int>
        let words: Range<Int>
    }

    /// How a value is made of cells.
    enum Value: Equatable {
        case count
        case nanoseconds
        case scaled(UInt64)
        case double
        /// A histogram's bucket of so many cells, which counts those before it too; the steps of one stand in order.
        case bucket(cells: Int, isFirst: Bool)
        /// What the last bucket counted.
        case bucketTotal
    }

    private(set) var text: [UInt8] = []
    private(set) var steps: [Step] = []
    /// Of each source.
    private(set) var stretches: [[Stretch]]

    private let dialect: TextDialect

    /// The sources are rendered later in the same order.
    init(_ sources: [MetricSource], in dialect: TextDialect) {
        self.dialect = dialect
        stretches = sources.map { _ in [] }
        for group in FamilyGroup.sorted(sources, in: dialect) {
            text += dialect.header(of: group.family)
            for member in group.members {
                let first = steps.count
                append(member, sources)
                extendStretches(with: first..<steps.count, member)
            }
        }
        text += Array(dialect.end.utf8)
    }

    /// Series that were declared one after the other make one stretch.
    private mutating func extendStretches(
        with steps: Range<Int>,
        _ member: FamilyGroup.Member
    ) {
        let words = member.series.word..<member.series.word + member.family.wordsPerSeries
        guard let last = stretches[member.source].last,
            last.words.upperBound == words.lowerBound, last.steps.upperBound == steps.lowerBound
        else { return stretches[member.source].append(Stretch(steps: steps, words: words)) }
        stretches[member.source][stretches[member.source].count - 1] = Stretch(
            steps: last.steps.lowerBound..<steps.upperBound,
            words: last.words.lowerBound..<words.upperBound
        )
    }

    private mutating func append(_ member: FamilyGroup.Member, _ sources: [MetricSource]) {
        let family = member.family
        let recorder = sources[member.source].recorder
        let labels = ExpositionText.labels(family, member.series.values, recorder: recorder)
        guard let buckets = family.buckets else {
            append(family.name, labels, Self.value(of: family), member, word: 0)
            if family.kind == .counter { appendCreated(member, of: family, labels) }
            return
        }
        for (index, cells) in buckets.classicCells.enumerated() {
            let bucket = ExpositionText.bucketLabels(labels, family, index)
            let value = Value.bucket(cells: cells.count, isFirst: index == 0)
            append(family.name + "_bucket", bucket, value, member, word: 1 + cells.lowerBound)
        }
        append(family.name + "_sum", labels, Self.value(of: family), member, word: 0)
        append(family.name + "_count", labels, .bucketTotal, member, word: 0)
        appendCreated(member, of: family, labels)
    }

    /// Since when a series counts; that does not change, so it is text.
    private mutating func appendCreated(
        _ member: FamilyGroup.Member,
        of family: MetricFamily,
        _ labels: String
    ) {
        let created = member.series.created.nanoseconds
        guard dialect.showsCreated, created > 0 else { return }
        text += ExpositionText.sampleStart(dialect.familyName(family) + "_created", labels)
        NumberText.append(nanoseconds: created, to: &text)
        text.append(UInt8(ascii: "\n"))
    }

    private mutating func append(
        _ name: String,
        _ labels: String,
        _ value: Value,
        _ member: FamilyGroup.Member,
        word: Int
    ) {
        // Each line but the first of a family ends the line before it: the header ends its own.
        text += ExpositionText.sampleStart(name, labels)
        steps.append(
            Step(
                textEnd: text.count,
                source: member.source,
                word: member.series.word + word,
                value: value
            )
        )
        text.append(UInt8(ascii: "\n"))
    }

    private static func value(of family: MetricFamily) -> Value {
        switch (family.encoding, family.scale) {
        case (.double, _): .double
        case (.integer, 1): .count
        case (.integer, 1_000_000_000): .nanoseconds
        case (.integer, let scale): .scaled(scale)
        }
    }
}

/// The series of one family, of all sources: an exposition must not interleave them.
struct FamilyGroup {
    struct Member {
        let source: Int
        /// As its source declares it: labels, bounds and encoding may differ from the group's.
        let family: MetricFamily
        let series: SegmentContents.Series
    }

    /// Name, help, type and unit of all members.
    let family: MetricFamily
    var members: [Member] = []

    /// Families by name, without those that `VisibleFamilies` hides.
    static func sorted(_ sources: [MetricSource], in dialect: TextDialect) -> [FamilyGroup] {
        var groups: [String: FamilyGroup] = [:]
        for (index, source) in sources.enumerated() {
            for series in source.series
            where !source.hidden.hides(series.family, in: dialect) {
                let family = source.families[series.family]
                groups[
                    family.name,
                    default: FamilyGroup(family: RunMetrics.fixedFamilies[family.name] ?? family)
                ].members.append(Member(source: index, family: family, series: series))
            }
        }
        return groups.values.sorted { $0.family.name < $1.family.name }
    }
}
