import Glibc

/// A point on `CLOCK_BOOTTIME`, in nanoseconds: shared by all containers of a node, and running while it sleeps.
///
/// Two of them may be compared only when both were taken in the same boot (see `BootID`).
package struct BootTime: Comparable, Hashable, Sendable {
    package var nanoseconds: UInt64

    package init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    /// A time that is never reached.
    package static var distantFuture: BootTime { BootTime(nanoseconds: .max) }

    package static func now() -> BootTime {
        BootTime(nanoseconds: readClock(CLOCK_BOOTTIME))
    }

    package static func < (left: BootTime, right: BootTime) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// Time since `earlier`; zero when that is not earlier.
    package func since(_ earlier: BootTime) -> Duration {
        .nanoseconds(nanoseconds > earlier.nanoseconds ? nanoseconds - earlier.nanoseconds : 0)
    }

    /// The time `duration` later, or the last representable one.
    package func advanced(by duration: Duration) -> BootTime {
        BootTime(nanoseconds: nanoseconds.addingWithSaturation(duration.wholeNanoseconds))
    }
}

/// A point on `CLOCK_REALTIME`, in nanoseconds since 1970: for display only.
package struct WallTime: Hashable, Sendable {
    package var nanoseconds: UInt64

    package init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    package static func now() -> WallTime {
        WallTime(nanoseconds: readClock(CLOCK_REALTIME))
    }
}

extension Duration {
    /// Whole nanoseconds; a negative duration counts as zero, one beyond 584 years as that.
    package var wholeNanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (scaled, tooLong) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        let rest = UInt64(attoseconds / 1_000_000_000)
        let (sum, overflow) = scaled.addingReportingOverflow(rest)
        return tooLong || overflow ? .max : sum
    }

    /// Milliseconds for `poll(2)`, rounded up: a wait that ends just before its time would begin again at once.
    package var pollTimeout: CInt {
        let (milliseconds, rest) = wholeNanoseconds.quotientAndRemainder(dividingBy: 1_000_000)
        return CInt(clamping: milliseconds + (rest > 0 ? 1 : 0))
    }

    /// Seconds as a floating-point number, for text that people read.
    package var inSeconds: Double { Double(wholeNanoseconds) / 1e9 }
}

/// The kernel's identifier of this boot, `/proc/sys/kernel/random/boot_id`: stamps of `BootTime` are comparable only within one.
package struct BootID: Hashable, Sendable {
    package let bytes: [UInt8]

    /// Sixteen bytes, as found in a file.
    package init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// Whether `/proc` is readable.
    package var isKnown: Bool { bytes.contains { $0 != 0 } }

    /// The running kernel's; all zeros if `/proc` cannot be read, which differs from every real one.
    package static func current() -> BootID {
        do throws(SystemError) {
            let file = try FileDescriptor(opening: "/proc/sys/kernel/random/boot_id", O_RDONLY)
            return BootID(bytes: hexadecimalBytes(of: try file.bytes(at: 0, count: 64)))
        } catch {
            return BootID(bytes: [UInt8](repeating: 0, count: 16))
        }
    }
}

/// Arithmetic on numbers that come from outside: a result beyond the type's range is the nearest value in it.
extension FixedWidthInteger {
    package func addingWithSaturation(_ other: Self) -> Self {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other < 0 ? .min : .max) : sum
    }

    package func subtractingWithSaturation(_ other: Self) -> Self {
        let (difference, overflow) = subtractingReportingOverflow(other)
        return overflow ? (Self.isSigned && other < 0 ? .max : .min) : difference
    }

    package func multipliedWithSaturation(by other: Self) -> Self {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? ((self < 0) != (other < 0) ? .min : .max) : product
    }
}

/// Growing pauses between attempts: half a second, doubled up to half a minute, and half a second again after an attempt of 10 s.
///
/// Without them, a source that delivers a little and fails would leave two files a second.
package struct Backoff {
    private static let first = Duration.milliseconds(500)
    private var pause = first

    package init() {}

    package mutating func next() -> Duration {
        defer { pause = min(pause * 2, .seconds(30)) }
        return pause
    }

    package mutating func ran(for time: Duration) {
        if time >= .seconds(10) { pause = Self.first }
    }
}

private func readClock(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    let seconds = UInt64(clamping: time.tv_sec).multipliedWithSaturation(by: 1_000_000_000)
    return seconds.addingWithSaturation(UInt64(clamping: time.tv_nsec))
}

private func hexadecimalBytes(of text: [UInt8]) -> [UInt8] {
    let digits = text.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
    guard digits.count == 32 else { return [UInt8](repeating: 0, count: 16) }
    return (0..<16).map { UInt8(digits[$0 * 2] << 4 | digits[$0 * 2 + 1]) }
}
