package import FoundationEssentials
import Posix

/// Why an address in a playlist or a redirect is not followed.
package enum URLPolicyError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Not an address at all, or one without a host.
    case malformed
    /// Neither `http` nor `https`: a playlist must not make the recorder read files.
    case scheme(String)
    /// From `https` to `http`.
    case downgrade
    case tooLong

    package var description: String {
        switch self {
        case .malformed: "malformed address"
        case .scheme(let scheme): "address of scheme \(scheme.prefix(16)) refused"
        case .downgrade: "downgrade from https to http refused"
        case .tooLong: "address of more than \(URLPolicy.maxBytes) bytes refused"
        }
    }
}

/// The rules for addresses that come from the network.
package enum URLPolicy {
    /// The limit of browsers and servers, too.
    package static let maxBytes = 8 << 10

    /// The absolute address that `reference` means in a document at `base` (RFC 3986, section 5).
    ///
    /// - Throws: `URLPolicyError` if it may not be followed from there.
    package static func resolve(_ reference: String, at base: URL) throws(URLPolicyError) -> URL {
        guard reference.utf8.count <= maxBytes else { throw .tooLong }
        guard let url = URL(string: escaped(reference), relativeTo: base)?.absoluteURL else {
            throw .malformed
        }
        try check(url, from: base)
        return url
    }

    /// `reference` with escapes for the characters that no address may contain; those that are there stay as they are.
    private static func escaped(_ reference: String) -> String {
        let authority = reference.firstRange(of: "//")?.upperBound
        let path = authority.map { reference[$0...].firstIndex(of: "/") ?? reference.endIndex }
        let bytes = Array(reference.utf8)
        let start = path.map { reference.utf8.distance(from: reference.startIndex, to: $0) } ?? 0
        let isHex = { (index: Int) in
            index < bytes.count && Character(Unicode.Scalar(bytes[index])).isHexDigit
        }
        var result: [UInt8] = []
        for (index, byte) in bytes.enumerated() {
            let isForbidden =
                switch byte {
                case UInt8(ascii: "%"): !isHex(index + 1) || !isHex(index + 2)
                case UInt8(ascii: "["), UInt8(ascii: "]"): index >= start
                case ...0x20, 0x7f..., UInt8(ascii: "\""), UInt8(ascii: "<"), UInt8(ascii: ">"),
                    UInt8(ascii: "\\"), UInt8(ascii: "^"), UInt8(ascii: "`"), UInt8(ascii: "{"),
                    UInt8(ascii: "|"), UInt8(ascii: "}"):
                    index >= start
                default: false
                }
            let digits = Array("0123456789ABCDEF".utf8)
            result +=
                isForbidden
                ? [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]] : [byte]
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// Checks an address that a document or server at `origin` names.
    package static func check(_ url: URL, from origin: URL?) throws(URLPolicyError) {
        let scheme = url.scheme?.lowercased() ?? ""
        guard scheme == "http" || scheme == "https" else { throw .scheme(scheme) }
        guard let host = url.host(), !host.isEmpty else { throw .malformed }
        guard url.absoluteString.utf8.count <= maxBytes else { throw .tooLong }
        if scheme == "http", origin?.scheme?.lowercased() == "https" { throw .downgrade }
    }
}

/// Part of a resource.
package struct ByteRange: Hashable, Sendable {
    package let offset: Int
    /// At least 1.
    package let count: Int

    package var end: Int { offset + count }

    /// `nil` if the range is empty, or beyond what a file can hold.
    package init?(offset: Int, count: Int) {
        guard offset >= 0, count > 0, !offset.addingReportingOverflow(count).overflow else {
            return nil
        }
        (self.offset, self.count) = (offset, count)
    }

    /// Parses `count`, or `count@offset`; without an offset it begins at `start`.
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

/// The text without the user and the query of any address in it, which may contain passwords and tokens.
///
/// An address extends to the next character that no address can contain (RFC 3986, appendix A). Quotes and brackets may be part
/// of a token, and are removed with it, except at the very end.
package func redacted(_ text: String) -> String {
    var result = ""
    var rest = text[...]
    while let scheme = rest.firstRange(of: "://") {
        let end = rest[scheme.upperBound...].firstIndex(where: endsAddress) ?? rest.endIndex
        result += rest[..<scheme.upperBound] + bare(rest[scheme.upperBound..<end])
        rest = rest[end...]
    }
    return result + rest
}

/// Host and path of what follows a scheme.
private func bare(_ address: Substring) -> Substring {
    let authority = address.prefix { !"/?#".contains($0) }
    let start = authority.lastIndex(of: "@").map { address.index(after: $0) }
    let shown = address[(start ?? address.startIndex)...]
    guard let query = shown.firstIndex(where: { $0 == "?" || $0 == "#" }) else { return shown }
    let closing = shown[query...].reversed().prefix { "'()[]".contains($0) }
    return shown[..<query] + closing.reversed()
}

private func endsAddress(_ character: Character) -> Bool {
    character.isWhitespace || "\"<>\\^`{|}".contains(character)
}

extension URL {
    /// For logs: scheme, host, port and the end of the path, without query, user and long path parts.
    ///
    /// Some services put tokens into the path.
    package var redacted: String {
        let name = path.split(separator: "/").last.map { $0.count > 40 ? "\($0.prefix(12))…" : $0 }
        let host = shortened(self.host() ?? "", to: 255)
        let bracketed = host.contains(":") && !host.hasPrefix("[") ? "[\(host)]" : host
        let server = "\(scheme ?? "")://\(bracketed)" + (port.map { ":\($0)" } ?? "")
        return "\(server)/…/\(name ?? "")"
    }
}

/// Text that is never logged or displayed.
package struct Secret: Equatable, Sendable, CustomStringConvertible, CustomReflectable {
    package let bytes: [UInt8]

    package init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    package var text: String { String(decoding: bytes, as: UTF8.self) }
    package var description: String { "(secret)" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
