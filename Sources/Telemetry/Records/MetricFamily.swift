/// What a metric family is, as it is declared in a segment and rendered by an exporter.
package struct MetricFamily: Hashable, Sendable {
    package enum Kind: UInt8, Sendable {
        case counter = 1
        case gauge, histogram, info, stateset
    }

    /// How a cell holds a value.
    package enum Encoding: UInt8, Sendable {
        /// An unsigned integer, to be divided by the family's scale.
        case integer
        /// The bits of an IEEE 754 double.
        case double
    }

    package var name: String
    package var help: String
    package var kind: Kind
    package var encoding: Encoding
    /// Cells per unit: 1,000,000,000 where cells hold nanoseconds and the exposition seconds.
    package let scale: UInt64
    package var unit: String
    package var labels: [String]
    /// Of a histogram, and of no other.
    package let buckets: HistogramBuckets?

    package init(
        name: String,
        help: String,
        kind: Kind,
        encoding: Encoding = .integer,
        scale: UInt64 = 1,
        unit: String = "",
        labels: [String] = [],
        bounds: [UInt64] = [],
        exponential: ExponentialBuckets? = nil
    ) {
        (self.name, self.help, self.kind) = (name, help, kind)
        (self.encoding, self.scale, self.unit) = (encoding, scale, unit)
        self.labels = labels
        buckets =
            bounds.isEmpty
            ? nil : HistogramBuckets(bounds: bounds, exponential: exponential, scale: scale)
    }

    /// Cells of one series: of a histogram the sum, and what its buckets are made of.
    package var wordsPerSeries: Int { buckets.map { 1 + $0.cellCount } ?? 1 }

    /// Whether a following run goes on counting where this one ended.
    var isCarried: Bool { kind == .counter || kind == .histogram }

    /// Whether cells of `other` mean the same as cells of this family.
    package func hasShape(of other: MetricFamily) -> Bool {
        var renamed = other
        renamed.help = help
        return renamed == self
    }

    /// Whether an exposition can hold it: one bad name would cost the whole scrape.
    ///
    /// Names: the Prometheus data model's, without UTF-8 extensions; `recorder` and `le` are given by the exporter. A
    /// counter ends in `_total`, an info in `_info`, and the unit stands before that, as OpenMetrics demands.
    package var isValid: Bool {
        isName(name, colons: true) && hasFittingSuffix && scale > 0
            && (kind == .histogram) == (buckets != nil)
            && buckets?.isValid(scale: scale) ?? true
            && Set(labels).count == labels.count
            && labels.allSatisfy {
                isName($0, colons: false) && $0 != "le" && $0 != "recorder" && !$0.hasPrefix("__")
            }
    }

    private var hasFittingSuffix: Bool {
        let suffix =
            switch kind {
            case .counter: "_total"
            case .info: "_info"
            case .gauge, .histogram, .stateset: ""
            }
        guard name.utf8.count > suffix.utf8.count, name.hasSuffix(suffix) else { return false }
        return unit.isEmpty || name.dropLast(suffix.utf8.count).hasSuffix("_" + unit)
    }
}

private func isName(_ text: String, colons: Bool) -> Bool {
    guard let first = text.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first)
    else { return false }
    return text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        case UInt8(ascii: ":"): colons
        default: false
        }
    }
}
