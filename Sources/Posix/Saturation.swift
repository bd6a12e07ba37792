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
