/// The beginning of a client's frame, checked by RFC 6455 §5.2.
struct WebSocketFrameHeader: Equatable {
    let opcode: WebSocketOpcode
    /// Whether the frame is the last of its message.
    let isFinal: Bool
    let payloadLength: Int
    let mask: [UInt8]
    /// Bytes of the header itself.
    let length: Int

    /// Reads the header at the front of `bytes`; `nil` while it has not arrived whole.
    ///
    /// What its first bytes rule out is refused without the rest. A payload beyond `limit` is too large.
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

    /// The shortest form is the only one, and the highest bit is 0.
    private static func payloadLength(
        _ short: UInt8,
        _ extended: Span<UInt8>
    ) throws(WebSocketClose) -> UInt64 {
        guard !extended.isEmpty else { return UInt64(short) }
        var length: UInt64 = 0
        for index in extended.indices { length = length << 8 | UInt64(extended[index]) }
        let shortest: UInt64 = extended.count == 2 ? 126 : 0x1_0000
        guard length >= shortest, length >> 63 == 0 else {
            throw .protocolError("malformed payload length")
        }
        return length
    }
}
