/// What a frame is, RFC 6455 §5.2.
enum WebSocketOpcode: UInt8, Sendable {
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

/// Writes a server's frames: whole, and not masked (RFC 6455 §5.1).
enum WebSocketFrame {
    static func encode(_ opcode: WebSocketOpcode, _ payload: some Collection<UInt8>) -> [UInt8] {
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

extension [UInt8] {
    mutating func append(bigEndian number: some FixedWidthInteger) {
        for shift in stride(from: number.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }
}
