/// A bearer token (RFC 6750): a secret that a request shows in its Authorization field.
package struct BearerToken: Sendable {
    /// More would not fit the head of a request beside its other fields.
    package static let longest = 4096

    private let bytes: [UInt8]

    /// Takes the content of a token's file; white space at its end is not part of the token.
    ///
    /// `nil` unless that leaves 1 to `longest` visible ASCII characters.
    package init?(_ content: [UInt8]) {
        let end = content.lastIndex { !Self.blanks.contains($0) } ?? -1
        guard (0..<Self.longest).contains(end), content[...end].allSatisfy(\.isVisible) else {
            return nil
        }
        bytes = Array(content[...end])
    }

    /// The answer to a request that does not carry the token; `nil` for one that does.
    package func refusal(of request: Request) -> Response? {
        guard let field = request.header("Authorization") else {
            return .unauthorized(challenge: "Bearer")
        }
        guard isCarried(by: field) else {
            return .unauthorized(challenge: "Bearer error=\"invalid_token\"")
        }
        return nil
    }

    private func isCarried(by field: String) -> Bool {
        let scheme = "Bearer "
        let field = Array(field.utf8)
        guard field.span.extracting(first: scheme.utf8.count).equalsIgnoringCase(scheme) else {
            return false
        }
        return isEqual(to: field[scheme.utf8.count...].drop { $0 == .space })
    }

    /// Compares in a time that depends on the length of `given` alone, so that nobody can guess byte by byte.
    private func isEqual(to given: ArraySlice<UInt8>) -> Bool {
        var difference = UInt8(given.count == bytes.count ? 0 : 1)
        for (index, byte) in given.enumerated() { difference |= byte ^ bytes[index % bytes.count] }
        return difference == 0
    }

    private static let blanks: [UInt8] = [.space, .tab, .carriageReturn, .lineFeed]
}

extension Response {
    /// Asks for credentials (RFC 9110 §15.5.2).
    fileprivate static func unauthorized(challenge: String) -> Response {
        var response = text(.unauthorized, "unauthorized")
        response.headers = [("WWW-Authenticate", challenge)]
        return response
    }
}
