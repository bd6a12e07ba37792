/// Why a connection ends, RFC 6455 §7.4; also the error of a client that breaks a rule.
struct WebSocketClose: Error, Equatable, Sendable {
    let code: UInt16
    /// For people; at most 123 bytes are sent.
    let reason: String

    static let goingAway = WebSocketClose(code: 1001, reason: "the recorder is stopping")
    static let tryAgainLater = WebSocketClose(code: 1013, reason: "too many clients")

    static func protocolError(_ reason: String) -> WebSocketClose {
        WebSocketClose(code: 1002, reason: reason)
    }

    static let notUTF8 = WebSocketClose(code: 1007, reason: "text is not UTF-8")
    static let tooLarge = WebSocketClose(code: 1009, reason: "message is too large")

    var payload: [UInt8] {
        var payload: [UInt8] = []
        payload.append(bigEndian: code)
        payload.append(contentsOf: reason.utf8.prefix(123))
        return payload
    }
}

extension WebSocketClose {
    /// Reads the payload of a client's Close frame; `nil` for an empty one, which gives no reason.
    static func read(_ payload: [UInt8]) throws(WebSocketClose) -> WebSocketClose? {
        guard !payload.isEmpty else { return nil }
        guard payload.count >= 2 else { throw protocolError("a close code of one byte") }
        let code = UInt16(payload[0]) << 8 | UInt16(payload[1])
        guard mayBeSent(code) else { throw protocolError("invalid close code") }
        guard let reason = String(validating: payload[2...], as: UTF8.self) else { throw notUTF8 }
        return WebSocketClose(code: code, reason: reason)
    }

    /// Codes of RFC 6455 §7.4, and those registered since; 1004 to 1006 and 1015 never stand in a frame.
    private static func mayBeSent(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}
