package import FoundationEssentials

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
    /// What browsers and servers take, too.
    package static let maxBytes = 8 << 10

    /// The absolute address that `reference` means in a document at `base` (RFC 3986, section 5).
    ///
    /// - Throws: `URLPolicyError` when it is none that may be followed from there.
    package static func resolve(_ reference: String, at base: URL) throws(URLPolicyError) -> URL {
        guard reference.utf8.count <= maxBytes else { throw .tooLong }
        guard let url = URL(string: reference, relativeTo: base)?.absoluteURL else {
            throw .malformed
        }
        try check(url, from: base)
        return url
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
