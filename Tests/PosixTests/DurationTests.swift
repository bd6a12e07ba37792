import Posix
import Testing

@Suite("A duration in whole nanoseconds")
struct DurationTests {
    @Test(
        "is never negative, and never more than 64 bits hold",
        arguments: [
            (.seconds(-5), 0), (.nanoseconds(-1), 0), (.zero, 0), (.nanoseconds(1), 1),
            (.seconds(1_700_000_000) + .nanoseconds(999_999_999), 1_700_000_000_999_999_999),
            (.seconds(18_446_744_073) + .nanoseconds(709_551_615), .max),
            (.seconds(18_446_744_073) + .nanoseconds(709_551_616), .max),
            (.seconds(18_446_744_074), .max), (.seconds(Int.max), .max),
        ] as [(Duration, UInt64)]
    )
    func bounds(_ duration: Duration, _ nanoseconds: UInt64) {
        #expect(duration.wholeNanoseconds == nanoseconds)
    }
}
