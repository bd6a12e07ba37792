package import HTTP

/// The bytes of one input.
package func input(_ start: UnsafePointer<UInt8>, _ count: Int) -> [UInt8] {
    Array(UnsafeBufferPointer(start: start, count: count))
}

/// The bytes in up to four pieces; where they are cut is taken from the bytes themselves, so that a finding is one file.
package func pieces(of bytes: [UInt8]) -> [[UInt8]] {
    let cuts = bytes.prefix(3).map { Int($0) % (bytes.count + 1) }.sorted()
    return zip([0] + cuts, cuts + [bytes.count]).map { Array(bytes[$0..<$1]) }
}

/// The request that bytes begin with; `nil` when the parser refuses them, or waits for more.
package func request(in bytes: [UInt8]) -> Request? {
    var parser = RequestParser(contentLimit: 64 << 10)
    guard case .request(let request, _) = parser.parse(bytes.span, peer: "::1") else { return nil }
    return request
}

/// Ends the process where a rule is broken, with the rule: a `precondition` of an optimized program keeps it to itself.
package func require(_ isKept: Bool, _ rule: @autoclosure () -> String) {
    guard isKept else { fatalError("broken: \(rule())") }
}
