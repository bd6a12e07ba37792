/// Part of a resource.
package struct ByteRange: Hashable, Sendable {
    package let offset: Int
    /// At least 1.
    package let count: Int

    package var end: Int { offset + count }

    /// `nil` where the range is empty, or reaches beyond what a file can hold.
    package init?(offset: Int, count: Int) {
        guard offset >= 0, count > 0, !offset.addingReportingOverflow(count).overflow else {
            return nil
        }
        (self.offset, self.count) = (offset, count)
    }

    /// Reads `count`, or `count@offset`; without an offset it begins at `start`.
    package init?(_ text: Substring, from start: Int?) {
        let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        guard let count = parts.first.flatMap({ decimal($0) }) else { return nil }
        guard let offset = parts.count == 2 ? decimal(parts[1]) : start else { return nil }
        self.init(offset: offset, count: count)
    }
}

/// A decimal integer of digits alone (RFC 8216, section 4.2).
package func decimal(_ text: some StringProtocol) -> Int? {
    text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ? Int(text) : nil
}
