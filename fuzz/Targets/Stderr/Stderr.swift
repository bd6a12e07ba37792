import FuzzSupport

@testable import Fetch
@testable import Recorder

/// What programs write to standard error becomes lines of a log: short, and without what is secret in an address.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzStderr(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = input(start, count)
    let whole = lines(of: [bytes])
    require(lines(of: pieces(of: bytes)) == whole, "independent of the pieces")
    for line in whole {
        // Bytes that are no UTF-8 become three.
        require(line.utf8.count <= 3 * longest, "short: \(line)")
        require(line.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "one line: \(line)")
        require(redacted(line) == line, "nothing is left to be taken out of \(line)")
        for address in line.addresses {
            require(!address.contains { $0 == "?" || $0 == "#" }, "no query: \(line)")
            require(!address.prefix { $0 != "/" }.contains("@"), "no user: \(line)")
        }
    }
    return 0
}

private let longest = 64

private func lines(of pieces: [[UInt8]]) -> [String] {
    var cutter = ErrorOutput(maxBytes: longest)
    return pieces.flatMap { cutter.append($0.span) } + cutter.finish()
}

extension String {
    /// What follows the scheme of each, as RFC 3986 has its characters.
    fileprivate var addresses: [Substring] {
        let outside = "\"<>\\^`{|}"
        return split { $0.isWhitespace || outside.contains($0) }.compactMap { word in
            word.firstRange(of: "://").map { word[$0.upperBound...] }
        }
    }
}
