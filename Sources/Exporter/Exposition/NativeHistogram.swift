import StreamVaultTelemetry

/// What a native histogram counts, as Prometheus transmits it: only buckets that count something, more or less.
struct NativeHistogram: Equatable {
    /// Buckets that follow each other.
    struct Span: Equatable {
        /// Buckets between the span before and this one; for the first, the index of its first bucket.
        var offset: Int
        var length = 0
    }

    private(set) var zeroCount: UInt64
    private(set) var spans: [Span] = []
    /// Each bucket's count, as the difference from that of the bucket before.
    private(set) var deltas: [Int64] = []

    /// Empty buckets that are cheaper sent than skipped.
    private static let longestBridge = 2

    /// - Parameters:
    ///   - counts: of the zero bucket, and of all that follow.
    ///   - firstIndex: of the bucket behind the zero bucket.
    init(_ counts: [UInt64], firstIndex: Int) {
        zeroCount = counts.first ?? 0
        var next = 0  // The index behind the last bucket that was taken.
        var previous: UInt64 = 0
        for (index, count) in zip(firstIndex..., counts.dropFirst()) where count > 0 {
            let gap = index - next
            if spans.isEmpty || gap > Self.longestBridge {
                spans.append(Span(offset: gap))
            } else {
                for _ in 0..<gap { take(0, &previous) }
            }
            take(count, &previous)
            next = index + 1
        }
    }

    private mutating func take(_ count: UInt64, _ previous: inout UInt64) {
        spans[spans.count - 1].length += 1
        deltas.append(Int64(truncatingIfNeeded: count &- previous))
        previous = count
    }
}
