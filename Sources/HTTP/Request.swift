import Posix

/// A request; its text is decoded when it is asked for.
package struct Request: Sendable {
    private let bytes: [UInt8]
    private let head: RequestHead
    package let body: [UInt8]
    /// The client's address without its port, or `unix`.
    package let peer: String
    /// The number of the connection that it came by; no two of a server have the same.
    package internal(set) var connection: UInt64 = 0

    init(_ head: RequestHead, in bytes: Span<UInt8>, content: [UInt8], peer: String) {
        self.bytes = [UInt8](copying: bytes.extracting(first: head.length))
        self.head = head
        self.body = content
        self.peer = peer
    }

    /// Whether the head is the same to the byte, and from the same peer: then it says the same.
    package func hasHead(of other: Request) -> Bool {
        bytes.span.isSame(as: other.bytes.span) && peer == other.peer
    }

    /// Bytes of its head.
    var headLength: Int { bytes.count }

    /// Whether these bytes begin with the same head.
    func isFirst(in received: Span<UInt8>) -> Bool {
        received.count >= bytes.count
            && received.extracting(first: bytes.count).isSame(as: bytes.span)
    }

    /// Whether a browser sends it, as far as its fields tell.
    var isFromBrowser: Bool { head.isFromBrowser }

    /// The names that it calls the server by, without ports: those of its Host field and of its target.
    var hosts: [String] {
        let target = String(decoding: bytes.span.extracting(head.line.target.authority))
        return (headers("Host") + [target]).map { text in
            let bytes = text.utf8.span
            return Authority(bytes).map { String(decoding: bytes.extracting($0.host)) } ?? ""
        }
    }

    package var method: Method { head.line.method }

    /// Whether the client can take another response on this connection (RFC 9112 §9.3).
    package var keepsAlive: Bool { head.keepsAlive }

    /// Whether the client speaks HTTP/1.0: it must not be sent 101, and wants to hear that its connection stays.
    package var isHTTP10: Bool { head.line.minorVersion == 0 }

    /// The target as it was sent.
    package var target: String { String(decoding: bytes.span.extracting(head.line.target.whole)) }

    /// The path with its escapes decoded; `*` for the asterisk form.
    package var path: String {
        let path = head.line.target.path
        return path.isEmpty ? "/" : bytes.span.extracting(path).percentDecoded(plusIsSpace: false)
    }

    /// The value of a query parameter, the first of several; see `queries`.
    package func query(_ name: String) -> String? {
        queries(name).first
    }

    /// The values of all query parameters of a name, decoded as forms are; empty for one without `=`.
    package func queries(_ name: String) -> [String] {
        let bytes = bytes.span
        var rest = head.line.target.query
        var values: [String] = []
        while !rest.isEmpty {
            let ampersand = bytes.firstIndex(of: 0x26, from: rest.lowerBound) ?? rest.upperBound
            let end = min(ampersand, rest.upperBound)
            let pair = bytes.extracting(rest.lowerBound..<end)
            rest = min(end + 1, rest.upperBound)..<rest.upperBound
            let mark = pair.firstIndex(of: 0x3D) ?? pair.count
            guard pair.extracting(first: mark).percentDecoded(plusIsSpace: true) == name else {
                continue
            }
            values.append(
                pair.extracting(droppingFirst: mark + 1).percentDecoded(plusIsSpace: true)
            )
        }
        return values
    }

    /// The value of a field, its name in any case; several lines are joined by commas (RFC 9110 §5.3).
    package func header(_ name: String) -> String? {
        let values = headers(name)
        return values.count > 1 ? values.joined(separator: ", ") : values.first
    }

    /// The values of all lines of a field, in their order.
    package func headers(_ name: String) -> [String] {
        var lines = FieldLines(head.fields)
        var values: [String] = []
        let bytes = bytes.span
        while let field = try? lines.next(in: bytes) {  // They were valid when the head was read.
            guard bytes.extracting(field.name).equalsIgnoringCase(name) else { continue }
            values.append(String(decoding: bytes.extracting(field.value)))
        }
        return values
    }

    /// Whether a field that is a comma-separated list holds `token`, in any case of its letters (RFC 9110 §5.6.1).
    package func lists(_ token: String, in name: String) -> Bool {
        headers(name).contains { value in
            let bytes = value.utf8.span
            var rest = 0..<bytes.count
            while let item = bytes.nextListItem(in: &rest) {
                if bytes.extracting(item).equalsIgnoringCase(token) { return true }
            }
            return false
        }
    }
}

extension Span where Element == UInt8 {
    /// Decodes `%` escapes (RFC 3986 §2.1); one that is malformed stays as it is.
    fileprivate func percentDecoded(plusIsSpace: Bool) -> String {
        guard !allSatisfy({ $0 != 0x25 && $0 != 0x2B }) else { return String(decoding: self) }
        var decoded: [UInt8] = []
        var index = 0
        while index < count {
            if self[index] == 0x25, index + 2 < count, let high = self[index + 1].hexadecimal,
                let low = self[index + 2].hexadecimal
            {
                decoded.append(high << 4 | low)
                index += 3
            } else {
                decoded.append(plusIsSpace && self[index] == 0x2B ? .space : self[index])
                index += 1
            }
        }
        return String(decoding: decoded.span)
    }
}
