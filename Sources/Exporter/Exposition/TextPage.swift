import Posix
import StreamVaultTelemetry

/// Renders pages of metrics as text.
///
/// A page is laid out once for the declared series. After that, one scrape differs from the next in a few numbers, and only
/// those are written.
struct TextPage {
    private let dialect: TextDialect
    private var sources = PageSources()
    private var template: PageTemplate
    private var page: [UInt8] = []
    /// The value of each number on the page, and its place.
    private var shown: [UInt64] = []
    private var places: [Range<Int>] = []
    /// The words of each source that the numbers were made from.
    private var known: [[UInt64]] = []
    private var number: [UInt8] = []

    init(_ dialect: TextDialect) {
        self.dialect = dialect
        template = PageTemplate([], in: dialect)
    }

    /// The complete page: it is rendered before any of it is sent, because one invalid byte costs the whole scrape.
    mutating func render(_ sources: [MetricSource]) -> [UInt8] {
        if self.sources.update(sources) {
            template = PageTemplate(sources, in: dialect)
            known = []
        }
        if known.isEmpty || !patch(sources) { write(sources) }
        return page
    }

    /// Overwrites the numbers that have changed; `false` when one does not fit in its place.
    private mutating func patch(_ sources: [MetricSource]) -> Bool {
        let template = template
        for (source, runs) in template.runs.enumerated() {
            let (words, before) = (sources[source].words, known[source])
            for run in runs where !words.isSame(as: before, in: run.words) {
                guard patch(run.steps, of: template, words.span) else { return false }
            }
            known[source] = words
        }
        return true
    }

    private mutating func patch(
        _ range: Range<Int>,
        of template: PageTemplate,
        _ words: Span<UInt64>
    ) -> Bool {
        let steps = template.steps.span
        var total: UInt64 = 0
        for index in range {
            let value = steps[index].shownValue(words, &total)
            if value == shown[index] { continue }
            guard overwrite(index, steps[index], with: value) else { return false }
            shown[index] = value
        }
        return true
    }

    /// Overwrites one number; usually only the last digits of a count change.
    private mutating func overwrite(
        _ index: Int,
        _ step: PageTemplate.Step,
        with value: UInt64
    ) -> Bool {
        let (place, before) = (places[index], shown[index])
        if step.isCount, value > before {
            return NumberText.add(value - before, to: place, of: &page)
        }
        number.removeAll(keepingCapacity: true)
        step.append(value, to: &number)
        guard number.count == place.count else { return false }
        for offset in number.indices { page[place.lowerBound + offset] = number[offset] }
        return true
    }

    /// Writes the whole page, with constant text from spans: slices of arrays would count references for each number.
    private mutating func write(_ sources: [MetricSource]) {
        page.removeAll(keepingCapacity: true)
        shown.removeAll(keepingCapacity: true)
        places.removeAll(keepingCapacity: true)
        known = sources.map(\.words)
        let (template, words) = (template, known)
        let text = template.text.span
        var (copied, total) = (0, UInt64(0))
        for step in template.steps {
            page.append(text.extracting(copied..<step.textEnd))
            copied = step.textEnd
            let cells = words[step.source]
            let (value, start) = (step.shownValue(cells.span, &total), page.count)
            step.append(value, to: &page)
            shown.append(value)
            places.append(start..<page.count)
        }
        page.append(text.extracting(droppingFirst: copied))
    }
}

extension [UInt64] {
    fileprivate func isSame(as other: [UInt64], in range: Range<Int>) -> Bool {
        span.extracting(range).isSame(as: other.span.extracting(range))
    }
}

/// The layout of a page: its constant text, and the cells of the values between the pieces of it.
private struct PageTemplate {
    /// A value, after the constant text before it.
    struct Step {
        /// End of the constant text, which begins where that of the previous step ends.
        let textEnd: Int
        let source: Int
        /// Index in the words of the source.
        let word: Int
        let value: Value
    }

    /// Consecutive steps, and the consecutive words that they show: while the words do not change, no number does.
    struct ValueRun {
        let steps: Range<Int>
        let words: Range<Int>
    }

    /// How a value is derived from cells.
    enum Value {
        case count
        case nanoseconds
        case scaled(UInt64)
        case double
        /// A histogram's bucket of that many cells, which includes the buckets before it; the steps of one histogram are in order.
        case bucket(cells: Int, isFirst: Bool)
        /// The value of the last bucket.
        case bucketTotal
    }

    private(set) var text: [UInt8] = []
    private(set) var steps: [Step] = []
    /// The runs of each source.
    private(set) var runs: [[ValueRun]]

    private let dialect: TextDialect

    /// The sources are rendered later in the same order.
    init(_ sources: [MetricSource], in dialect: TextDialect) {
        self.dialect = dialect
        runs = sources.map { _ in [] }
        for group in FamilyGroup.sorted(sources, in: dialect) {
            text += dialect.header(of: group.family)
            for member in group.members {
                let first = steps.count
                append(member, recorder: sources[member.source].recorder)
                extendRuns(with: first..<steps.count, member)
            }
        }
        text += Array(dialect.end.utf8)
    }

    /// Series that were declared one after the other form one run.
    private mutating func extendRuns(with steps: Range<Int>, _ member: FamilyGroup.Member) {
        let words = member.series.word..<member.series.word + member.family.wordsPerSeries
        guard let last = runs[member.source].last,
            last.words.upperBound == words.lowerBound, last.steps.upperBound == steps.lowerBound
        else { return runs[member.source].append(ValueRun(steps: steps, words: words)) }
        runs[member.source][runs[member.source].count - 1] = ValueRun(
            steps: last.steps.lowerBound..<steps.upperBound,
            words: last.words.lowerBound..<words.upperBound
        )
    }

    private mutating func append(_ member: FamilyGroup.Member, recorder: String?) {
        let family = member.family
        let labels = TextDialect.labels(family, member.series.values, recorder: recorder)
        guard let buckets = family.buckets else {
            append(family.name, labels, Self.value(of: family), member, word: 0)
            if family.kind == .counter { appendCreated(member, of: family, labels) }
            return
        }
        for (index, cells) in buckets.classicCells.enumerated() {
            let bucket = TextDialect.bucketLabels(labels, family, index)
            let value = Value.bucket(cells: cells.count, isFirst: index == 0)
            append(family.name + "_bucket", bucket, value, member, word: 1 + cells.lowerBound)
        }
        append(family.name + "_sum", labels, Self.value(of: family), member, word: 0)
        append(family.name + "_count", labels, .bucketTotal, member, word: 0)
        appendCreated(member, of: family, labels)
    }

    /// The time since when a series counts; it does not change, so it is constant text.
    private mutating func appendCreated(
        _ member: FamilyGroup.Member,
        of family: MetricFamily,
        _ labels: String
    ) {
        let created = member.series.created.nanoseconds
        guard dialect.showsCreated, created > 0 else { return }
        text += TextDialect.sampleStart(dialect.familyName(family) + "_created", labels)
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
        text += TextDialect.sampleStart(name, labels)
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

extension PageTemplate.Step {
    /// The value of the number; `total` is the running count of one histogram's buckets.
    fileprivate func shownValue(_ words: Span<UInt64>, _ total: inout UInt64) -> UInt64 {
        switch value {
        case .count, .nanoseconds, .scaled, .double: return words[word]
        case .bucket(let cells, let isFirst):
            if isFirst { total = 0 }
            for cell in word..<word + cells { total &+= words[cell] }
            return total
        case .bucketTotal: return total
        }
    }

    /// Whether the number is written as the plain digits of the value.
    fileprivate var isCount: Bool {
        switch value {
        case .count, .bucket, .bucketTotal: true
        case .nanoseconds, .scaled, .double: false
        }
    }

    fileprivate func append(_ shown: UInt64, to page: inout [UInt8]) {
        switch value {
        case .count, .bucket, .bucketTotal: NumberText.append(shown, to: &page)
        case .nanoseconds: NumberText.append(nanoseconds: shown, to: &page)
        case .scaled(let scale): NumberText.append(shown.divided(by: scale), to: &page)
        case .double: NumberText.append(Double(bitPattern: shown), to: &page)
        }
    }
}

/// Numbers as both text formats write them, appended without creating strings.
enum NumberText {
    private static let zero = UInt8(ascii: "0")

    static func append(_ value: UInt64, to page: inout [UInt8]) {
        var digits = InlineArray<20, UInt8>(repeating: zero)
        var (first, rest) = (digits.count, value)
        repeat {
            first -= 1
            digits[first] = zero + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
        page.append(digits.span.extracting(droppingFirst: first))
    }

    /// Adds to the digits in a place; `false` when the sum does not fit in it.
    static func add(_ amount: UInt64, to place: Range<Int>, of page: inout [UInt8]) -> Bool {
        var (rest, carry, index) = (amount, UInt8(0), place.upperBound)
        while rest > 0 || carry > 0 {
            guard index > place.lowerBound else { return false }
            index -= 1
            let digit: UInt64
            (rest, digit) = rest.quotientAndRemainder(dividingBy: 10)
            let sum = page[index] + UInt8(truncatingIfNeeded: digit) + carry
            carry = sum > zero + 9 ? 1 : 0
            page[index] = sum - carry * 10
        }
        return true
    }

    /// Nanoseconds as seconds, exact, without trailing zeros.
    static func append(nanoseconds: UInt64, to page: inout [UInt8]) {
        var rest: UInt64
        let seconds: UInt64
        (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        append(seconds, to: &page)
        guard rest > 0 else { return }
        var digits = InlineArray<10, UInt8>(repeating: zero)
        digits[0] = UInt8(ascii: ".")
        var last = 0
        for place in (1...9).reversed() {
            let digit: UInt64
            (rest, digit) = rest.quotientAndRemainder(dividingBy: 10)
            digits[place] = zero + UInt8(truncatingIfNeeded: digit)
            if digit != 0 { last = max(last, place) }
        }
        page.append(digits.span.extracting(first: last + 1))
    }

    /// The shortest text that is read as the same value; `NaN`, `+Inf` and `-Inf` as both formats spell them.
    static func append(_ value: Double, to page: inout [UInt8]) {
        if value.isNaN {
            page += Array("NaN".utf8)
            return
        }
        if value.isInfinite {
            page += Array((value > 0 ? "+Inf" : "-Inf").utf8)
            return
        }
        guard value.rounded(.towardZero) == value, abs(value) < 9_007_199_254_740_992 else {
            page += Array(value.description.utf8)
            return
        }
        if value < 0 { page.append(UInt8(ascii: "-")) }
        append(UInt64(abs(value)), to: &page)
    }
}

extension UInt64 {
    /// The `Double` nearest to the quotient, as if it had been read from the decimal number.
    ///
    /// A present time in nanoseconds has more digits than a `Double`: it must not be rounded before the division.
    func divided(by scale: UInt64) -> Double {
        guard self >> 53 > 0 else { return Double(self) / Double(scale) }
        let (quotient, rest) = quotientAndRemainder(dividingBy: scale)
        return Double(quotient) + Double(rest) / Double(scale)
    }
}

extension [UInt8] {
    fileprivate mutating func append(_ bytes: Span<UInt8>) {
        unsafe bytes.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
    }
}
