/// The kind of a frame, RFC 6455 §5.2.
package enum WebSocketOpcode: UInt8, Sendable {
    case continuation = 0x0
    case text = 0x1
    case binary = 0x2
    case close = 0x8
    case ping = 0x9
    case pong = 0xA

    /// Control frames are small, never fragmented, and may come between the fragments of a message.
    var isControl: Bool {
        switch self {
        case .close, .ping, .pong: true
        case .continuation, .text, .binary: false
        }
    }
}

/// Writes a server's frames: complete messages, not masked (RFC 6455 §5.1).
package enum WebSocketFrame {
    package static func encode(
        _ opcode: WebSocketOpcode,
        _ payload: some Collection<UInt8>
    ) -> [UInt8] {
        var frame: [UInt8] = [0x80 | opcode.rawValue]
        frame.reserveCapacity(payload.count + 10)
        switch payload.count {
        case ...125: frame.append(UInt8(payload.count))
        case ...0xFFFF:
            frame.append(126)
            frame.append(bigEndian: UInt16(payload.count))
        default:
            frame.append(127)
            frame.append(bigEndian: UInt64(payload.count))
        }
        frame.append(contentsOf: payload)
        return frame
    }
}

/// The reason for the end of a connection, RFC 6455 §7.4; also the error for a client that violates the protocol.
package struct WebSocketClose: Error, Equatable, Sendable {
    package let code: UInt16
    /// For people; at most 123 bytes are sent.
    package let reason: String

    package static let goingAway = WebSocketClose(code: 1001, reason: "the recorder is stopping")
    package static let tryAgainLater = WebSocketClose(code: 1013, reason: "too many clients")

    static func protocolError(_ reason: String) -> WebSocketClose {
        WebSocketClose(code: 1002, reason: reason)
    }

    static let notUTF8 = WebSocketClose(code: 1007, reason: "text is not UTF-8")
    static let tooLarge = WebSocketClose(code: 1009, reason: "message is too large")

    /// The payload of a Close frame.
    var payload: [UInt8] {
        var payload: [UInt8] = []
        payload.append(bigEndian: code)
        payload.append(contentsOf: reason.utf8.prefix(123))
        return payload
    }

    /// Reads the payload of a client's Close frame; `nil` for an empty one, which gives no reason.
    fileprivate static func read(_ payload: [UInt8]) throws(WebSocketClose) -> WebSocketClose? {
        guard !payload.isEmpty else { return nil }
        guard payload.count >= 2 else { throw protocolError("a close code of one byte") }
        let code = UInt16(payload[0]) << 8 | UInt16(payload[1])
        guard isAllowedInFrame(code) else { throw protocolError("invalid close code") }
        guard let reason = String(validating: payload[2...], as: UTF8.self) else { throw notUTF8 }
        return WebSocketClose(code: code, reason: reason)
    }

    /// Codes of RFC 6455 §7.4, and those registered since; 1004 to 1006 and 1015 must not be sent.
    private static func isAllowedInFrame(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}

/// Reads a client's frames and assembles messages, RFC 6455 §5.4; the result does not depend on how the bytes were split.
struct WebSocketReader {
    enum Event: Equatable {
        case text(String)
        case binary([UInt8])
        case ping([UInt8])
        case pong([UInt8])
        case close(WebSocketClose?)
    }

    /// Maximum bytes of a message, and so of a frame.
    private let limit: Int
    private var bytes: [UInt8] = []
    private var start = 0
    /// The fragments received so far of a message that is not complete.
    private var message: (opcode: WebSocketOpcode, bytes: [UInt8])?

    init(limit: Int) {
        self.limit = limit
    }

    mutating func append(_ received: some Collection<UInt8>) {
        bytes.removeFirst(start)
        start = 0
        bytes.append(contentsOf: received)
    }

    /// The next complete event.
    ///
    /// - Throws: the close to send to the client; the rest of its bytes must be ignored.
    mutating func next() throws(WebSocketClose) -> Event? {
        while let header = try nextHeader() {
            let first = start + header.length
            let end = first + header.payloadLength
            guard bytes.count >= end else { return nil }
            let payload = bytes[first..<end].enumerated().map { $1 ^ header.mask[$0 & 3] }
            start = end
            switch header.opcode {
            case .ping: return .ping(payload)
            case .pong: return .pong(payload)
            case .close: return .close(try WebSocketClose.read(payload))
            case .continuation, .text, .binary:
                if let event = try addFragment(header, payload) { return event }
            }
        }
        return nil
    }

    /// The fragments of a message follow one another, with nothing but control frames between them.
    private func nextHeader() throws(WebSocketClose) -> FrameHeader? {
        let room = max(limit - (message?.bytes.count ?? 0), 125)
        let rest = bytes.span.extracting(droppingFirst: start)
        guard let header = try FrameHeader(rest, limit: room) else { return nil }
        guard header.opcode.isControl || (header.opcode == .continuation) == (message != nil) else {
            throw .protocolError("fragments are out of order")
        }
        return header
    }

    /// Returns the message if this data frame is its last.
    private mutating func addFragment(
        _ header: FrameHeader,
        _ payload: [UInt8]
    ) throws(WebSocketClose) -> Event? {
        var (opcode, bytes) = message ?? (header.opcode, [])
        bytes += payload
        guard bytes.count <= limit else { throw .tooLarge }
        guard header.isFinal else {
            message = (opcode, bytes)
            return nil
        }
        message = nil
        guard opcode == .text else { return .binary(bytes) }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .notUTF8 }
        return .text(text)
    }
}

/// The header of a client's frame, checked as RFC 6455 §5.2 requires.
private struct FrameHeader {
    let opcode: WebSocketOpcode
    /// Whether the frame is the last of its message.
    let isFinal: Bool
    let payloadLength: Int
    let mask: [UInt8]
    /// Bytes of the header itself.
    let length: Int

    /// Reads the header at the start of `bytes`; `nil` while it is incomplete.
    ///
    /// An invalid first byte is an error even if the rest has not arrived. A payload of more than `limit` bytes is too large.
    init?(_ bytes: Span<UInt8>, limit: Int) throws(WebSocketClose) {
        guard bytes.count >= 2 else { return nil }
        guard bytes[0] & 0x70 == 0 else { throw .protocolError("reserved bits are set") }
        guard let opcode = WebSocketOpcode(rawValue: bytes[0] & 0x0F) else {
            throw .protocolError("unknown opcode")
        }
        guard bytes[1] & 0x80 != 0 else { throw .protocolError("frame is not masked") }
        isFinal = bytes[0] & 0x80 != 0
        let short = bytes[1] & 0x7F
        if opcode.isControl {
            guard isFinal else { throw .protocolError("control frame is fragmented") }
            guard short <= 125 else { throw .protocolError("control frame is too long") }
        }
        let extra = short == 126 ? 2 : short == 127 ? 8 : 0
        guard bytes.count >= 2 + extra else { return nil }
        let payload = try Self.payloadLength(short, bytes.extracting(2..<2 + extra))
        guard payload <= UInt64(limit) else { throw .tooLarge }
        length = 2 + extra + 4
        guard bytes.count >= length else { return nil }
        mask = (length - 4..<length).map { bytes[$0] }
        (self.opcode, payloadLength) = (opcode, Int(payload))
    }

    /// Only the shortest form is allowed, and the highest bit must be 0.
    private static func payloadLength(
        _ short: UInt8,
        _ extended: Span<UInt8>
    ) throws(WebSocketClose) -> UInt64 {
        guard !extended.isEmpty else { return UInt64(short) }
        var length: UInt64 = 0
        for index in extended.indices { length = length << 8 | UInt64(extended[index]) }
        let min: UInt64 = extended.count == 2 ? 126 : 0x1_0000
        guard length >= min, length >> 63 == 0 else {
            throw .protocolError("malformed payload length")
        }
        return length
    }
}

extension [UInt8] {
    fileprivate mutating func append(bigEndian number: some FixedWidthInteger) {
        for shift in stride(from: number.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }
}
