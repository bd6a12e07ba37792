import Foundation

/// The text without the query of any address in it; tokens are kept there.
///
/// A query reaches from `?` to the next blank, quote or bracket.
func withoutQueries(_ text: String) -> String {
    var result = ""
    var rest = text[...]
    while let scheme = rest.range(of: "://") {
        let end = rest[scheme.upperBound...].firstIndex(where: endsAddress) ?? rest.endIndex
        let address = rest[..<end]
        if let query = address[scheme.upperBound...].firstIndex(where: { $0 == "?" || $0 == "#" }) {
            result += address[..<query]
        } else {
            result += address
        }
        rest = rest[end...]
    }
    return result + rest
}

private func endsAddress(_ character: Character) -> Bool {
    character.isWhitespace || "\"'<>()[]{}`".contains(character)
}

extension URL {
    /// Scheme, host, port and the end of the path: enough to recognise, without query, user and long path parts.
    ///
    /// Some services put their tokens into the path.
    var forLog: String {
        let name = path.split(separator: "/").last.map { $0.count > 40 ? "\($0.prefix(12))…" : $0 }
        let server = "\(scheme ?? "")://\(host() ?? "")" + (port.map { ":\($0)" } ?? "")
        return "\(server)/…/\(name ?? "")"
    }
}
