import Glibc

/// Durations as a recorder meets them, the same in every run: each histogram bucket is hit, in no order.
///
/// The table is long enough that a branch predictor does not learn it.
struct Durations {
    /// Nanoseconds.
    let values: [UInt64]

    /// As many below 10 ms as between 10 and 100 ms, and so on: 0.5 ms to 150 s.
    init(count: Int = 16_384) {
        var generator = SplitMix(state: 1)
        values = (0..<count).map { _ in
            UInt64(pow(10, Double.random(in: log10(0.5e6)...log10(150e9), using: &generator)))
        }
    }
}

/// Random numbers that are the same in every run.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
