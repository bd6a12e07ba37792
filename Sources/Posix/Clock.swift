import Glibc

/// A point on `CLOCK_BOOTTIME`, in nanoseconds: shared by all containers of a node, and running while it sleeps.
///
/// Two of them may be compared only when both were taken in the same boot (see `BootID`).
package struct BootTime: Comparable, Hashable, Sendable {
    package var nanoseconds: UInt64

    package init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

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

    /// The time `duration` later, or the last one that can be said.
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

private func readClock(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    let seconds = UInt64(clamping: time.tv_sec).multipliedWithSaturation(by: 1_000_000_000)
    return seconds.addingWithSaturation(UInt64(clamping: time.tv_nsec))
}
