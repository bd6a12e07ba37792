/// Durations as people write them: `60s`, `1.5s`, `500ms`, `2m`, `1h30m`.
///
/// Read digit by digit, so `0.1s` is exactly 100 ms.
extension Duration {
    /// Reads one or more numbers with units, the larger unit first; `nil` for anything else.
    ///
    /// Units are `h`, `m`, `s` and `ms`. A number without one is refused: it could mean either.
    package init?(text: String) {
        var rest = Array(text.utf8)[...]
        var total: Int64 = 0
        var smallestScale = Int64.max
        repeat {
            guard let (nanoseconds, scale) = readPart(of: &rest), scale < smallestScale else {
                return nil
            }
            let (sum, overflow) = total.addingReportingOverflow(nanoseconds)
            guard !overflow else { return nil }
            (total, smallestScale) = (sum, scale)
        } while !rest.isEmpty
        self = .nanoseconds(total)
    }

    /// The duration in whole seconds, `60s`, or else in whole milliseconds, `1500ms`.
    package var text: String {
        let milliseconds = wholeNanoseconds / 1_000_000
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000)s" : "\(milliseconds)ms"
    }
}

/// Takes `1.5s` off the front of `rest`: its nanoseconds, and those of its unit.
private func readPart(of rest: inout ArraySlice<UInt8>) -> (nanoseconds: Int64, scale: Int64)? {
    let whole = readDigits(of: &rest)
    var fraction: ArraySlice<UInt8> = []
    if rest.first == UInt8(ascii: ".") {
        rest.removeFirst()
        fraction = readDigits(of: &rest)
        guard !fraction.isEmpty else { return nil }
    }
    guard !whole.isEmpty, let scale = readUnit(of: &rest) else { return nil }
    var total: Int64 = 0
    for digit in whole {
        let (tens, tooLarge) = total.multipliedReportingOverflow(by: 10)
        let (sum, overflow) = tens.addingReportingOverflow(Int64(digit - UInt8(ascii: "0")))
        guard !tooLarge, !overflow else { return nil }
        total = sum
    }
    let (scaled, overflow) = total.multipliedReportingOverflow(by: scale)
    guard !overflow else { return nil }
    var place = scale
    var remainder: Int64 = 0
    for digit in fraction {
        place /= 10  // Hours have places below a nanosecond that this drops; nobody writes those.
        remainder += Int64(digit - UInt8(ascii: "0")) * place
    }
    let (sum, tooLarge) = scaled.addingReportingOverflow(remainder)
    return tooLarge ? nil : (sum, scale)
}

private func readDigits(of rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    let digits = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    rest = rest.dropFirst(digits.count)
    return digits
}

private func readUnit(of rest: inout ArraySlice<UInt8>) -> Int64? {
    let units: [(String, Int64)] = [
        ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000),
    ]
    for (name, scale) in units where rest.starts(with: name.utf8) {
        rest = rest.dropFirst(name.utf8.count)
        return scale
    }
    return nil
}

/// Why `text` is not a duration within `bounds`, or `nil` when it is.
package func durationError(for text: String, bounds: ClosedRange<Duration>) -> String? {
    guard let duration = Duration(text: text) else {
        return "\"\(text)\" is not a duration, such as 60s, 1.5s, 500ms or 2m"
    }
    guard !bounds.contains(duration) else { return nil }
    return "must be between \(bounds.lowerBound.text) and \(bounds.upperBound.text), not \(text)"
}
