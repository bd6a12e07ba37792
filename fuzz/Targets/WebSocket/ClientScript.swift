@testable import WebSocket

/// What a client that keeps to RFC 6455 sends, as any bytes tell it: three for each message, and then what it says.
struct ClientScript {
    private(set) var frames: [UInt8] = []
    private(set) var events: [WebSocketReader.Event] = []

    init(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while rest.count >= 3 {
            let (kind, count, fragments) = (
                rest.popFirst() ?? 0, rest.popFirst() ?? 0, rest.popFirst() ?? 0
            )
            let payload = Array(rest.prefix(Int(count)))
            rest = rest.dropFirst(payload.count)
            switch kind % 4 {
            case 0: control(.ping, payload)
            case 1: control(.pong, payload)
            case 2: data(.binary, payload, in: fragments)
            default:
                let text = String(decoding: payload.prefix(Reading.limit / 3), as: UTF8.self)
                data(.text, Array(text.utf8), in: fragments)
            }
        }
    }

    private mutating func control(_ opcode: WebSocketOpcode, _ payload: [UInt8]) {
        let payload = Array(payload.prefix(125))
        append(opcode, payload, isFinal: true)
        events.append(opcode == .ping ? .ping(payload) : .pong(payload))
    }

    /// Sends a message in one to four fragments, with a Ping after the first of several.
    private mutating func data(_ opcode: WebSocketOpcode, _ payload: [UInt8], in fragments: UInt8) {
        let (count, size) = (Int(fragments % 4) + 1, payload.count / (Int(fragments % 4) + 1))
        for index in 0..<count {
            let isLast = index == count - 1
            let part = payload[index * size..<(isLast ? payload.count : (index + 1) * size)]
            append(index == 0 ? opcode : .continuation, Array(part), isFinal: isLast)
            if index == 0, !isLast { control(.ping, []) }
        }
        let text = String(decoding: payload, as: UTF8.self)
        events.append(opcode == .text ? .text(text) : .binary(payload))
    }

    /// A masked frame, with the mask made of what is there.
    private mutating func append(_ opcode: WebSocketOpcode, _ payload: [UInt8], isFinal: Bool) {
        let mask = (0..<4).map { UInt8(truncatingIfNeeded: frames.count * 37 + $0 * 101) }
        frames.append((isFinal ? 0x80 : 0) | opcode.rawValue)
        if payload.count < 126 {
            frames.append(0x80 | UInt8(payload.count))
        } else {
            frames += [0xFE, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        }
        frames += mask + payload.enumerated().map { $1 ^ mask[$0 % 4] }
    }
}
