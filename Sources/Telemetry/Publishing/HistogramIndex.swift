import Posix

/// Finds the cell that counts a value, for the handles that point to it; it stays for good.
///
/// Every power of two is divided evenly into eight slots. A table has for each slot the number of bounds in those before
/// it; only the few bounds in the value's own slot are left to compare with.
struct HistogramIndex: Sendable {
    /// The table; the bounds follow.
    let memory: SharedMemory
    var address: UInt { memory.address }
    /// The most bounds that one slot has: so many comparisons lead to the cell, whatever the value.
    let comparisons: Int

    init(_ bounds: [UInt64]) {
        let slots = bounds.map(Histogram.slot)
        var population = [Int](repeating: 0, count: Histogram.slotCount)
        for slot in slots { population[slot] += 1 }
        comparisons = population.max() ?? 0
        memory = SharedMemory(
            privateWords: Histogram.slotCount + bounds.count + comparisons
        )
        var before = 0
        for (slot, count) in population.enumerated() {
            memory.store(UInt64(before), at: slot)
            before += count
        }
        // Behind the last bound stand some that no value exceeds, for comparisons that find no bound.
        let padded = bounds + [UInt64](repeating: .max, count: comparisons)
        for (index, bound) in padded.enumerated() {
            memory.store(bound, at: Histogram.slotCount + index)
        }
    }
}
