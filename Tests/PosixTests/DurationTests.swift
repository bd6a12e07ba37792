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

    @Test(
        "is rounded up for poll, and bounded by what poll takes",
        arguments: [
            (.seconds(-5), 0), (.zero, 0), (.nanoseconds(1), 1), (.milliseconds(5), 5),
            (.microseconds(5001), 6), (.seconds(3_000_000), .max), (.seconds(Int.max), .max),
        ] as [(Duration, CInt)]
    )
    func pollTimeout(_ duration: Duration, _ milliseconds: CInt) {
        #expect(duration.pollTimeout == milliseconds)
    }

    @Test(
        "a time that is advanced stays in its range",
        arguments: [
            (5, .seconds(-1), 5), (5, .nanoseconds(3), 8), (.max - 1, .nanoseconds(5), .max),
            (1, .seconds(Int.max), .max),
        ] as [(UInt64, Duration, UInt64)]
    )
    func advanced(from start: UInt64, by duration: Duration, to end: UInt64) {
        #expect(BootTime(nanoseconds: start).advanced(by: duration).nanoseconds == end)
    }

    @Test(
        "a date that no calendar or text has is none, and none traps",
        arguments: [
            "2147483647-25-01T00:00:00Z", "2147483647-12-01T00:00:00Z",
            "2147483647-01-01T00:00:00Z",
            "-2147483648-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "0999-12-31T23:59:59Z",
            "2026-2147483647-01T00:00:00Z", "2026-01-2147483647T00:00:00Z",
            "2026-01-01T2147483647:00:00Z", "2026-01-01T00:2147483647:00Z",
            "2026-01-01T00:00:2147483647Z", "2026-02-30T00:00:00Z",
        ]
    )
    func noDate(_ text: String) {
        #expect(UTCTime(iso8601: text) == nil)
    }

    @Test(
        "a moment far out is the nearest one that has a text",
        arguments: [
            (.max, "9999-12-31T23:59:59Z"), (253_402_300_800, "9999-12-31T23:59:59Z"),
            (.min, "1000-01-01T00:00:00Z"), (0, "1970-01-01T00:00:00Z"),
        ] as [(Int, String)]
    )
    func farMoments(_ seconds: Int, _ text: String) {
        let moment = UTCTime(seconds: seconds)
        #expect(moment.iso8601 == text && UTCTime(iso8601: text) == moment)
        #expect(UTCTime(seconds: 0).advanced(by: seconds) == moment)
        #expect(moment.advanced(by: .max) == UTCTime(seconds: .max))
        #expect(moment.advanced(by: .min) == UTCTime(seconds: .min))
    }

    @Test("arithmetic with saturation ends at the ends of its type, and is exact between")
    func saturation() {
        for a in Int8.min ... .max {
            for b in [Int8.min, -100, -2, -1, 0, 1, 2, 100, .max] {
                #expect(a.addingWithSaturation(b) == Int8(clamping: Int(a) + Int(b)))
                #expect(a.subtractingWithSaturation(b) == Int8(clamping: Int(a) - Int(b)))
                #expect(a.multipliedWithSaturation(by: b) == Int8(clamping: Int(a) * Int(b)))
                let (c, d) = (UInt8(bitPattern: a), UInt8(bitPattern: b))
                #expect(c.addingWithSaturation(d) == UInt8(clamping: Int(c) + Int(d)))
                #expect(c.subtractingWithSaturation(d) == UInt8(clamping: Int(c) - Int(d)))
                #expect(c.multipliedWithSaturation(by: d) == UInt8(clamping: Int(c) * Int(d)))
            }
        }
    }
}
