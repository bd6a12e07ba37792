import FoundationEssentials
import Posix

/// The text without the user and the query of any address in it; passwords and tokens are kept there.
///
/// An address reaches to the next character that none can hold (RFC 3986, appendix A). Quotes and brackets may be part of
/// a token, and go with it, but for those at its very end.
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
    /// Scheme, host, port and the end of the path: enough to recognise, without query, user and long path parts.
    ///
    /// Some services put their tokens into the path.
    package var redacted: String {
        let name = path.split(separator: "/").last.map { $0.count > 40 ? "\($0.prefix(12))…" : $0 }
        let host = shortened(self.host() ?? "", to: 255)
        let bracketed = host.contains(":") && !host.hasPrefix("[") ? "[\(host)]" : host
        let server = "\(scheme ?? "")://\(bracketed)" + (port.map { ":\($0)" } ?? "")
        return "\(server)/…/\(name ?? "")"
    }
}
