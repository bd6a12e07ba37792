/// A number as it was written: decimal digits and a decimal exponent, exact for as long as nobody asks for a double.
struct JSONNumber: Equatable {
    let isNegative: Bool
    /// ASCII digits before and behind the point, without it.
    let digits: ArraySlice<UInt8>
    /// The number is `digits` times ten to this power.
    let exponent: Int
    private let spelling: ArraySlice<UInt8>

    /// Larger exponents, in either direction, give the same answers as this one.
    static let largestExponent = 1_000_000

    init(
        isNegative: Bool,
        digits: ArraySlice<UInt8>,
        exponent: Int,
        spelling: ArraySlice<UInt8>
    ) {
        (self.isNegative, self.digits) = (isNegative, digits)
        (self.exponent, self.spelling) = (exponent, spelling)
    }

    /// The nearest double; `nil` beyond the largest.
    var double: Double? {
        let value = Double(String(decoding: spelling, as: UTF8.self))
        guard let value, value.isFinite else { return nil }
        return value
    }

    /// The number itself, if it is whole, not negative, and fits.
    var whole: UInt64? {
        let (value, isExact) = shifted(by: 0)
        return isExact ? value : nil
    }

    /// A number of seconds in nanoseconds, without what is below one; `nil` when it is negative or does not fit.
    var nanoseconds: UInt64? { shifted(by: 9).value }

    /// The number times ten to the power `places`, cut to a whole one, and whether nothing was cut off.
    private func shifted(by places: Int) -> (value: UInt64?, isExact: Bool) {
        let significant = digits.drop { $0 == UInt8(ascii: "0") }
        guard !significant.isEmpty else { return (0, true) }
        guard !isNegative else { return (nil, false) }
        let wholeDigits = significant.count + exponent + places
        guard wholeDigits <= 20 else { return (nil, false) }
        var value: UInt64 = 0
        for place in 0..<max(0, wholeDigits) {
            let index = significant.startIndex + place
            let digit = index < significant.endIndex ? significant[index] - UInt8(ascii: "0") : 0
            let (tens, tooLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflow) = tens.addingReportingOverflow(UInt64(digit))
            guard !tooLarge, !overflow else { return (nil, false) }
            value = sum
        }
        let rest = significant.dropFirst(max(0, wholeDigits))
        return (value, rest.allSatisfy { $0 == UInt8(ascii: "0") })
    }
}
