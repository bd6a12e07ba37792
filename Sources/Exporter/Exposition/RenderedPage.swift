import Posix

/// A page as it was last rendered: from one scrape to the next it differs in a few numbers, and only those are written.
struct RenderedPage {
    private let plan: PagePlan
    private(set) var bytes: [UInt8] = []
    /// What each number on the page stands for, and where it stands.
    private var shown: [UInt64] = []
    private var places: [Range<Int>] = []
    /// The words of each source that the numbers are made of.
    private var known: [[UInt64]] = []
    private var number: [UInt8] = []

    init(_ plan: PagePlan) {
        self.plan = plan
    }

    /// Brings the page up to date with the words of all sources.
    mutating func show(_ sources: [MetricSource]) {
        if known.isEmpty || !patch(sources) { write(sources) }
    }

    /// Overwrites the numbers that have changed; `false` when one has no room in its place.
    private mutating func patch(_ sources: [MetricSource]) -> Bool {
        let plan = plan
        for (source, stretches) in plan.stretches.enumerated() {
            let (words, before) = (sources[source].words, known[source])
            for stretch in stretches where !words.isSame(as: before, in: stretch.words) {
                guard patch(stretch.steps, of: plan, words.span) else { return false }
            }
            known[source] = words
        }
        return true
    }

    private mutating func patch(
        _ range: Range<Int>,
        of plan: PagePlan,
        _ words: Span<UInt64>
    ) -> Bool {
        let steps = plan.steps.span
        var total: UInt64 = 0
        for index in range {
            let value = steps[index].shownValue(words, &total)
            if value == shown[index] { continue }
            guard overwrite(index, steps[index], with: value) else { return false }
            shown[index] = value
        }
        return true
    }

    /// Overwrites one number; a count that has grown changes in its last digits, mostly.
    private mutating func overwrite(
        _ index: Int,
        _ step: PagePlan.Step,
        with value: UInt64
    ) -> Bool {
        let (place, before) = (places[index], shown[index])
        if step.isCount, value > before {
            return NumberText.add(value - before, to: place, of: &bytes)
        }
        number.removeAll(keepingCapacity: true)
        step.append(value, to: &number)
        guard number.count == place.count else { return false }
        for offset in number.indices { bytes[place.lowerBound + offset] = number[offset] }
        return true
    }

    /// Writes the whole page: constant text by spans, since slices of arrays would count references for every number.
    private mutating func write(_ sources: [MetricSource]) {
        bytes.removeAll(keepingCapacity: true)
        shown.removeAll(keepingCapacity: true)
        places.removeAll(keepingCapacity: true)
        known = sources.map(\.words)
        let (plan, words) = (plan, known)
        let text = plan.text.span
        var (copied, total) = (0, UInt64(0))
        for step in plan.steps {
            bytes.append(text.extracting(copied..<step.textEnd))
            copied = step.textEnd
            let cells = words[step.source]
            let (value, start) = (step.shownValue(cells.span, &total), bytes.count)
            step.append(value, to: &bytes)
            shown.append(value)
            places.append(start..<bytes.count)
        }
        bytes.append(text.extracting(droppingFirst: copied))
    }
}

extension [UInt64] {
    fileprivate func isSame(as other: [UInt64], in range: Range<Int>) -> Bool {
        span.extracting(range).isSame(as: other.span.extracting(range))
    }
}

extension PagePlan.Step {
    /// What the number stands for; `total` is what the buckets of one histogram have counted so far.
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

    /// Whether the number is written as the plain digits of what it stands for.
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
