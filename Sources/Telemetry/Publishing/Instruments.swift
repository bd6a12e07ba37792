public import Synchronization

/// A counter that any thread may add to: one atomic addition in shared memory.
public struct Counter: Sendable {
    @usableFromInline let cell: Cell

    @inlinable public func add(_ amount: UInt64 = 1) { cell.add(amount) }
}

/// A gauge that any thread may set: one store in shared memory.
public struct Gauge: Sendable {
    @usableFromInline let cell: Cell

    @inlinable public func set(_ value: Double) { cell.store(value.bitPattern) }
}

/// A histogram of integers, such as nanoseconds, that any thread may observe values in.
@safe public struct Histogram: Sendable {
    /// The sum, followed by the cells of the buckets.
    @usableFromInline let sum: Cell
    /// Address of a `HistogramIndex`.
    @usableFromInline let index: UInt
    @usableFromInline let comparisons: Int

    init(sum: Cell, index: HistogramIndex) {
        (self.sum, self.index, comparisons) = (sum, index.address, index.comparisons)
    }

    /// Counts a value in the cells' unit: nanoseconds for a histogram of durations.
    @inlinable public func observe(_ value: UInt64) {
        sum.following(cell(of: value) + 1).add(1)
        sum.addSaturating(value)
    }

    @inlinable public func observe(_ duration: Duration) {
        observe(duration.nanosecondsClamped)
    }

    /// The number of bounds below a value, found without a branch that depends on the value.
    ///
    /// A processor cannot predict durations, and mispredicted branches cost more than the search. Hence the bit cast: the
    /// compiler turns `? 1 : 0` into a branch.
    @inlinable func cell(of value: UInt64) -> Int {
        let table = unsafe UnsafePointer<UInt64>(bitPattern: index).unsafelyUnwrapped
        let first = Int(truncatingIfNeeded: unsafe table[Self.slot(of: value)])
        var cell = first
        for next in 0..<comparisons {
            let bound = unsafe table[Self.slotCount &+ first &+ next]
            cell &+= Int(unsafe unsafeBitCast(bound < value, to: UInt8.self))
        }
        return cell
    }

    /// Eight slots for each power of two: the exponent and the three binary digits after the first; 0 has the slot of 1.
    @inlinable static func slot(of value: UInt64) -> Int {
        let zeros = (value | 1).leadingZeroBitCount
        let digits = Int(truncatingIfNeeded: ((value | 1) &<< zeros) &>> 60)
        return (63 &- zeros) &* 8 &+ digits &- 8
    }

    @inlinable static var slotCount: Int { 64 * 8 }
}

/// A counter with a single writer, which needs no atomic addition.
public struct SingleWriterCounter: ~Copyable, Sendable {
    @usableFromInline let cell: Cell

    @inlinable public mutating func add(_ amount: UInt64 = 1) { cell.addAlone(amount) }
}

/// A histogram with a single writer, which needs no atomic addition.
public struct SingleWriterHistogram: ~Copyable, Sendable {
    @usableFromInline let shared: Histogram

    /// Counts a value in the cells' unit: nanoseconds for a histogram of durations.
    @inlinable public mutating func observe(_ value: UInt64) {
        shared.sum.following(shared.cell(of: value) + 1).addAlone(1)
        shared.sum.addAloneSaturating(value)
    }
}

/// One word of a segment, by its address: the memory is not unmapped while handles may be used.
@usableFromInline @safe struct Cell: Sendable {
    @usableFromInline let address: UInt

    @usableFromInline init(address: UInt) {
        self.address = address
    }

    @inlinable func add(_ amount: UInt64) {
        _ = unsafe word.pointee.wrappingAdd(amount, ordering: .relaxed)
    }

    @inlinable func addAlone(_ amount: UInt64) {
        let value = unsafe word.pointee.load(ordering: .relaxed)
        unsafe word.pointee.store(value &+ amount, ordering: .relaxed)
    }

    /// The sum saturates at the largest number; close to it, an addition by another thread may be lost.
    @inlinable func addSaturating(_ amount: UInt64) {
        let value = unsafe word.pointee.load(ordering: .relaxed)
        guard value <= .max - amount else { return store(.max) }
        add(amount)
    }

    @inlinable func addAloneSaturating(_ amount: UInt64) {
        let value = unsafe word.pointee.load(ordering: .relaxed)
        let (sum, overflow) = value.addingReportingOverflow(amount)
        store(overflow ? .max : sum)
    }

    func load() -> UInt64 { unsafe word.pointee.load(ordering: .relaxed) }

    @inlinable func store(_ value: UInt64) {
        unsafe word.pointee.store(value, ordering: .relaxed)
    }

    @inlinable func following(_ count: Int) -> Cell {
        Cell(address: address &+ UInt(bitPattern: count &* 8))
    }

    @inlinable var word: UnsafePointer<Atomic<UInt64>> {
        unsafe UnsafePointer(bitPattern: address).unsafelyUnwrapped
    }
}

extension Duration {
    /// Whole nanoseconds, 0 for a negative duration.
    ///
    /// 512 is a factor of 1,000,000,000: after the shift, durations up to 2.6 hours fit a word, and the division of a word by
    /// a constant is a multiplication.
    @inlinable var nanosecondsClamped: UInt64 {
        let shifted = attoseconds >> 9
        guard let word = UInt64(exactly: shifted) else { return Self.divided(shifted) }
        return word / 1_953_125
    }

    @usableFromInline static func divided(_ shifted: Int128) -> UInt64 {
        UInt64(clamping: shifted / 1_953_125)
    }
}
