public import Synchronization

/// A counter that any thread may add to: one locked addition on shared memory.
public struct Counter: Sendable {
    @usableFromInline let cell: Cell

    @inlinable public func add(_ amount: UInt64 = 1) { cell.add(amount) }
}

/// A gauge that any thread may set: one store to shared memory.
public struct Gauge: Sendable {
    @usableFromInline let cell: Cell

    @inlinable public func set(_ value: Double) { cell.store(value.bitPattern) }
}

/// A histogram of whole numbers, such as nanoseconds, that any thread may observe into.
@safe public struct Histogram: Sendable {
    /// The sum; the buckets follow, `+Inf` last.
    @usableFromInline let sum: Cell
    @usableFromInline let bounds: UInt
    @usableFromInline let boundCount: Int

    /// `bounds` is the address of `boundCount` words that are never freed.
    init(sum: Cell, bounds: UInt, boundCount: Int) {
        (self.sum, self.bounds, self.boundCount) = (sum, bounds, boundCount)
    }

    /// Counts a value in the cells' unit: nanoseconds for a histogram of durations.
    @inlinable public func observe(_ value: UInt64) {
        sum.following(bucket(of: value) + 1).add(1)
        sum.add(value)
    }

    @inlinable public func observe(_ duration: Duration) {
        observe(duration.nanosecondsClamped)
    }

    @inlinable func bucket(of value: UInt64) -> Int {
        guard let bounds = unsafe UnsafePointer<UInt64>(bitPattern: bounds) else {
            return boundCount
        }
        var index = 0
        while index < boundCount, unsafe bounds[index] < value { index += 1 }
        return index
    }
}

/// A counter with one writer, which needs no locked addition.
public struct SoleCounter: ~Copyable, Sendable {
    @usableFromInline let cell: Cell

    @inlinable public mutating func add(_ amount: UInt64 = 1) { cell.addAlone(amount) }
}

/// A histogram with one writer, which needs no locked addition.
public struct SoleHistogram: ~Copyable, Sendable {
    @usableFromInline let shared: Histogram

    /// Counts a value in the cells' unit: nanoseconds for a histogram of durations.
    @inlinable public mutating func observe(_ value: UInt64) {
        shared.sum.following(shared.bucket(of: value) + 1).addAlone(1)
        shared.sum.addAlone(value)
    }
}

/// One word of a segment, by its address: the memory is never unmapped.
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
    @usableFromInline var nanosecondsClamped: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0, seconds < 18_000_000_000 else { return 0 }
        return UInt64(seconds) &* 1_000_000_000 &+ UInt64(attoseconds / 1_000_000_000)
    }
}
