/// Reads a client's frames and puts messages together, RFC 6455 §5.4: pure, and indifferent to where the bytes were split.
struct WebSocketReader {
    /// What a client has said.
    enum Event: Equatable {
        case text(String)
        case binary([UInt8])
        case ping([UInt8])
        case pong([UInt8])
        case close(WebSocketClose?)
    }

    /// Bytes of a message, and so of a frame.
    private let limit: Int
    private var bytes: [UInt8] = []
    private var start = 0
    /// The fragments so far of a message that is not whole.
    private var message: (opcode: WebSocketOpcode, bytes: [UInt8])?

    init(limit: Int) {
        self.limit = limit
    }

    mutating func append(_ received: some Collection<UInt8>) {
        bytes.removeFirst(start)
        start = 0
        bytes.append(contentsOf: received)
    }

    /// The next event that has arrived whole.
    ///
    /// - Throws: the close that the client is to be told; nothing after that can be trusted.
    mutating func next() throws(WebSocketClose) -> Event? {
        while let (header, payload) = try nextFrame() {
            switch header.opcode {
            case .ping: return .ping(payload)
            case .pong: return .pong(payload)
            case .close: return .close(try WebSocketClose.read(payload))
            case .continuation, .text, .binary:
                if let event = try take(header, payload) { return event }
            }
        }
        return nil
    }

    private mutating func nextFrame()
        throws(WebSocketClose) -> (WebSocketFrameHeader, payload: [UInt8])?
    {
        guard let header = try nextHeader() else { return nil }
        let first = start + header.length
        let end = first + header.payloadLength
        guard bytes.count >= end else { return nil }
        let payload = bytes[first..<end].enumerated().map { $1 ^ header.mask[$0 & 3] }
        start = end
        return (header, payload)
    }

    /// A message's fragments follow one another, but for control frames between them.
    private func nextHeader() throws(WebSocketClose) -> WebSocketFrameHeader? {
        let room = max(limit - (message?.bytes.count ?? 0), 125)
        let rest = bytes.span.extracting(droppingFirst: start)
        guard let header = try WebSocketFrameHeader(rest, limit: room) else { return nil }
        guard header.opcode.isControl || (header.opcode == .continuation) == (message != nil) else {
            throw .protocolError("fragments are out of order")
        }
        return header
    }

    /// Takes a data frame; the message, when that was the last of it.
    private mutating func take(
        _ header: WebSocketFrameHeader,
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
