/// Numbers as an exposition writes them, appended without a detour over strings.
enum NumberText {
    static func append(_ value: UInt64, to page: inout [UInt8]) {
        if value < 10 { return page.append(UInt8(ascii: "0") + UInt8(value)) }
        let start = page.count
        var rest = value
        while rest > 0 {
            let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
            page.append(UInt8(ascii: "0") + UInt8(digit))
            rest = quotient
        }
        page[start...].reverse()
    }

    /// Nanoseconds as seconds, exact, without trailing zeros.
    static func append(nanoseconds: UInt64, to page: inout [UInt8]) {
        let (seconds, fraction) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        append(seconds, to: &page)
        guard fraction > 0 else { return }
        page.append(UInt8(ascii: "."))
        var (rest, unit) = (fraction, UInt64(100_000_000))
        while rest > 0 {
            page.append(UInt8(ascii: "0") + UInt8(rest / unit))
            rest %= unit
            unit /= 10
        }
    }

    /// The shortest text that gives the same value; `NaN`, `+Inf` and `-Inf` as both formats spell them.
    static func append(_ value: Double, to page: inout [UInt8]) {
        if value.isNaN {
            page += Array("NaN".utf8)
            return
        }
        if value.isInfinite {
            page += Array((value > 0 ? "+Inf" : "-Inf").utf8)
            return
        }
        guard value.rounded(.towardZero) == value, abs(value) < 9_007_199_254_740_992 else {
            page += Array(value.description.utf8)
            return
        }
        if value < 0 { page.append(UInt8(ascii: "-")) }
        append(UInt64(abs(value)), to: &page)
    }
}
