/// Decodes chunked content (RFC 9112 §7.1), looking at each byte once however the bytes arrive.
///
/// Extensions and trailers are checked and dropped. Sizes, extensions, trailers and line ends together have a limit of
/// their own, so that content of one byte a chunk costs no more memory than any other.
struct ChunkedContent: Sendable {
    /// What has been decoded.
    private(set) var bytes: [UInt8] = []
    private let contentLimit: Int
    private let framingLimit: Int
    private var offset: Int
    private var framing = 0
    private var state = State.size(0, hasDigits: false)

    private enum State {
        case size(Int, hasDigits: Bool)
        case extensionName(isEmpty: Bool)
        case extensionValue(isEmpty: Bool)
        case quoted, escaped, quotedEnd
        /// The CR after a size has come.
        case sizeEnd
        case data
        case dataReturn, dataEnd
        /// At the start of a line after the last chunk.
        case trailer
        case trailerName
        case trailerValue
        case trailerEnd
        /// The CR of the empty line has come.
        case end
    }

    /// What is left of the chunk; 0 in the last one.
    private var size = 0

    /// `offset` is where the content begins in the bytes that `end` is given.
    init(from offset: Int, contentLimit: Int, framingLimit: Int) {
        (self.offset, self.contentLimit, self.framingLimit) = (offset, contentLimit, framingLimit)
    }

    /// Where the content ends in `received`, which holds all that was given before; `nil` while that has not arrived.
    mutating func end(in received: Span<UInt8>) throws(Rejection) -> Int? {
        while offset < received.count {
            if case .data = state {
                takeData(received)
                continue
            }
            let byte = received[offset]
            (offset, framing) = (offset + 1, framing + 1)
            guard framing <= framingLimit else { throw .longChunkFraming }
            if case .end = state {
                guard byte == .lineFeed else { throw .chunks }
                return offset
            }
            state = try next(after: byte)
        }
        return nil
    }

    private mutating func takeData(_ received: Span<UInt8>) {
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
