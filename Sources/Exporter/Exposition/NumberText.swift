/// Numbers as an exposition writes them, appended without a detour over strings.
enum NumberText {
    static func append(_ value: UInt64, to page: inout [UInt8]) {
        var digits = InlineArray<20, UInt8>(repeating: zero)
        var (first, rest) = (digits.count, value)
        repeat {
            first -= 1
            digits[first] = zero + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
        page.append(digits.span.extracting(droppingFirst: first))
    }

    /// Adds to the digits that stand in a place; `false` when the sum has no room in it.
    static func add(_ amount: UInt64, to place: Range<Int>, of page: inout [UInt8]) -> Bool {
        var (rest, carry, index) = (amount, UInt8(0), place.upperBound)
        while rest > 0 || carry > 0 {
            guard index > place.lowerBound else { return false }
            index -= 1
            let digit: UInt64
            (rest, digit) = rest.quotientAndRemainder(dividingBy: 10)
            let sum = page[index] + UInt8(truncatingIfNeeded: digit) + carry
            carry = sum > zero + 9 ? 1 : 0
            page[index] = sum - carry * 10
        }
        return true
    }

    /// Nanoseconds as seconds, exact, without trailing zeros.
    static func append(nanoseconds: UInt64, to page: inout [UInt8]) {
        var rest: UInt64
        let seconds: UInt64
        (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        append(seconds, to: &page)
        guard rest > 0 else { return }
        var digits = InlineArray<10, UInt8>(repeating: zero)
        digits[0] = UInt8(ascii: ".")
        var last = 0
        for place in (1...9).reversed() {
            let digit: UInt64
            (rest, digit) = rest.quotientAndRemainder(dividingBy: 10)
            digits[place] = zero + UInt8(truncatingIfNeeded: digit)
            if digit != 0 { last = max(last, place) }
        }
        page.append(digits.span.extracting(first: last + 1))
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

    private static let zero = UInt8(ascii: "0")
}

extension [UInt8] {
    mutating func append(_ bytes: Span<UInt8>) {
        unsafe bytes.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
    }
}
