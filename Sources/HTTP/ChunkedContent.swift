/// Decodes chunked content (RFC 9112 §7.1), and examines each byte once, however the bytes arrive.
///
/// Extensions and trailers are checked and discarded. Sizes, extensions, trailers and line ends together have a limit of
/// their own, so that content in chunks of one byte needs no more memory than any other.
struct ChunkedContent: Sendable {
    /// The decoded content.
    private(set) var bytes: [UInt8] = []
    private let contentLimit: Int
    private let framingLimit: Int
    private var offset: Int
    private var framingBytes = 0
    /// Bytes that remain of the current chunk; 0 in the last one.
    private var size = 0
    private var state = State.size(0, hasDigits: false)

    private enum State {
        case size(Int, hasDigits: Bool)
        case extensionName(isEmpty: Bool)
        case extensionValue(isEmpty: Bool)
        case quoted, escaped, quotedEnd
        /// After the CR that follows a size.
        case sizeEnd
        case data
        case dataReturn, dataEnd
        /// At the start of a line after the last chunk.
        case trailer
        case trailerName
        case trailerValue
        case trailerEnd
        /// After the CR of the empty line.
        case end
    }

    /// `offset` is the start of the content in the bytes that are passed to `end(in:)`.
    init(from offset: Int, contentLimit: Int, framingLimit: Int) {
        (self.offset, self.contentLimit, self.framingLimit) = (offset, contentLimit, framingLimit)
    }

    /// The end of the content in `received`, which includes all bytes of earlier calls; `nil` until it has arrived.
    mutating func end(in received: Span<UInt8>) throws(Rejection) -> Int? {
        while offset < received.count {
            if case .data = state {
                appendData(from: received)
                continue
            }
            let byte = received[offset]
            (offset, framingBytes) = (offset + 1, framingBytes + 1)
            guard framingBytes <= framingLimit else { throw .longChunkFraming }
            if case .end = state {
                guard byte == .lineFeed else { throw .chunks }
                return offset
            }
            state = try next(after: byte)
        }
        return nil
    }

    private mutating func appendData(from received: Span<UInt8>) {
        let count = min(size, received.count - offset)
        bytes.append(contentsOf: [UInt8](copying: received.extracting(offset..<offset + count)))
        (offset, size) = (offset + count, size - count)
        if size == 0 { state = .dataReturn }
    }

    private mutating func next(after byte: UInt8) throws(Rejection) -> State {
        switch (state, byte) {
        case (.size(_, hasDigits: true), .carriageReturn), (.extensionName(false), .carriageReturn),
            (.extensionValue(false), .carriageReturn), (.quotedEnd, .carriageReturn):
            return .sizeEnd
        case (.size(_, hasDigits: true), 0x3B), (.extensionName(false), 0x3B),
            (.extensionValue(false), 0x3B), (.quotedEnd, 0x3B):
            return .extensionName(isEmpty: true)
        case (.size(let number, _), _):
            guard let digit = byte.hexadecimal else { throw .chunks }
            size = number << 4 | Int(digit)
            guard size <= contentLimit - bytes.count else { throw .longContent }
            return .size(size, hasDigits: true)
        case (.extensionName, _) where byte.isToken: return .extensionName(isEmpty: false)
        case (.extensionName(false), 0x3D): return .extensionValue(isEmpty: true)
        case (.extensionValue, _) where byte.isToken: return .extensionValue(isEmpty: false)
        case (.extensionValue(true), 0x22): return .quoted
        case (.quoted, 0x22): return .quotedEnd
        case (.quoted, 0x5C): return .escaped
        case (.quoted, _) where !byte.isControl, (.escaped, _) where !byte.isControl: return .quoted
        case (.sizeEnd, .lineFeed): return size == 0 ? .trailer : .data
        case (.dataReturn, .carriageReturn): return .dataEnd
        case (.dataEnd, .lineFeed): return .size(0, hasDigits: false)
        case (.trailer, .carriageReturn): return .end
        case (.trailer, _) where byte.isToken, (.trailerName, _) where byte.isToken:
            return .trailerName
        case (.trailerName, .colon): return .trailerValue
        case (.trailerValue, .carriageReturn): return .trailerEnd
        case (.trailerValue, _) where !byte.isControl: return .trailerValue
        case (.trailerEnd, .lineFeed): return .trailer
        default: throw .chunks
        }
    }
}
