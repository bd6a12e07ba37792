package import Posix

/// What `healthcheck` asks: `http://HOST[:PORT]/PATH`, or `unix:/SOCKET:/PATH`.
///
/// A host is a number or `localhost`: a static binary has no resolver, and a container's own check needs none.
package struct HealthcheckURL: Equatable, Sendable, CustomStringConvertible {
    package let description: String
    /// Where to connect to, in the order in which it is tried.
    package let addresses: [ListenAddress]
    /// The Host field.
    package let host: String
    /// Path and query.
    package let target: String

    package init(_ text: String) throws(HealthcheckURLError) {
        description = text
        // Neither a space nor a line break may get into the request.
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }), text.utf8.count <= 2048 else {
            throw Self.invalid(text, "is no URL")
        }
        if text.hasPrefix("unix:") {
            (addresses, host, target) = try Self.local(text)
        } else if text.hasPrefix("http://") {
            (addresses, host, target) = try Self.internet(text)
        } else {
            throw Self.invalid(text, "begins neither with http:// nor with unix:")
        }
    }

    private typealias Parts = (addresses: [ListenAddress], host: String, target: String)

    private static func internet(_ text: String) throws(HealthcheckURLError) -> Parts {
        let rest = text.dropFirst("http://".count).prefix { $0 != "#" }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let authority = String(rest[..<end])
        guard !authority.isEmpty, !authority.hasPrefix(":") else {
            throw invalid(text, "has no host")
        }
        let target = rest[end...].hasPrefix("/") ? String(rest[end...]) : "/\(rest[end...])"
        do throws(ListenAddressError) {
            return (try addresses(of: authority), authority, target)
        } catch {
            if case .hostName = error {
                throw invalid(
                    text,
                    "has a host name: only localhost and addresses are known here"
                )
            }
            throw invalid(text, "has no usable host: \(error)")
        }
    }

    private static func addresses(
        of authority: String
    ) throws(ListenAddressError) -> [ListenAddress] {
        let hasPort = authority.last != "]" && authority.contains(":")
        let full = hasPort ? authority : "\(authority):80"
        guard full.lowercased().hasPrefix("localhost:") else { return [try ListenAddress(full)] }
        let port = full.dropFirst("localhost".count)
        return [try ListenAddress("127.0.0.1\(port)"), try ListenAddress("[::1]\(port)")]
    }

    private static func local(_ text: String) throws(HealthcheckURLError) -> Parts {
        guard let colon = text.lastIndex(of: ":"), text[colon...].hasPrefix(":/"),
            let address = try? ListenAddress(String(text[..<colon]))
        else { throw invalid(text, "is not of the form unix:/SOCKET:/PATH") }
        return ([address], "localhost", String(text[text.index(after: colon)...]))
    }

    private static func invalid(_ text: String, _ reason: String) -> HealthcheckURLError {
        HealthcheckURLError(description: "\(text.debugDescription) \(reason)")
    }
}

/// Why a text is not the URL of a health check, in one line.
package struct HealthcheckURLError: Error, Equatable, CustomStringConvertible, Sendable {
    package let description: String
}
