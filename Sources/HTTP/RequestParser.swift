/// Reads requests from the bytes of a connection: pure, and indifferent to where the bytes were split.
package struct RequestParser: Sendable {
    /// The longest head, from the request line to the empty line.
    package var headLimit: Int
    /// The longest content; 0 refuses any.
    package var contentLimit: Int

    private var scanner = HeadScanner()
    private var head: RequestHead?
    private var chunks: ChunkedContent?
    /// The last request, if it was short and had no content: a scraper sends the same again and again.
    private var last: Request?

    /// The longest head that is remembered.
    private static let rememberedBytes = 1024

    package enum Outcome: Sendable {
        case needMore
        /// A request, and how many bytes from the front it took.
        case request(Request, consumed: Int)
        /// Nothing after this can be trusted: answer and close.
        case reject(Rejection)
    }

    package init(headLimit: Int = 8192, contentLimit: Int = 0) {
        self.headLimit = headLimit
        self.contentLimit = contentLimit
    }

    /// Whether the head has arrived and its sender waits for `100 Continue` before the content.
    package var expectsContinue: Bool { head?.expectsContinue ?? false }

    /// Reads on in `bytes`, which begin where the last request ended and contain all that was given before.
    package mutating func parse(_ bytes: Span<UInt8>, peer: String = "") -> Outcome {
        if let last, last.peer == peer, last.isFirst(in: bytes) {
            return taken(last, consumed: last.headLength)
        }
        do throws(Rejection) {
            guard let head = try completeHead(bytes) else { return .needMore }
            guard let (content, end) = try completeContent(of: head, in: bytes) else {
                return .needMore
            }
            let request = Request(head, in: bytes, content: content, peer: peer)
            last = end <= Self.rememberedBytes && end == head.length ? request : nil
            return taken(request, consumed: end)
        } catch {
            return .reject(error)
        }
    }

    private mutating func taken(_ request: Request, consumed: Int) -> Outcome {
        (scanner, head, chunks) = (HeadScanner(), nil, nil)
        return .request(request, consumed: consumed)
    }

    private mutating func completeHead(_ bytes: Span<UInt8>) throws(Rejection) -> RequestHead? {
        if let head { return head }
        guard let end = try scanner.end(in: bytes, limit: headLimit) else { return nil }
        guard let lineEnd = scanner.requestLineEnd else { return nil }
        head = try RequestHead(
            bytes,
            line: scanner.start..<lineEnd,
            end: end,
            contentLimit: contentLimit
        )
        return head
    }

    /// The content, and where it ends; `nil` while it has not arrived.
    private mutating func completeContent(
        of head: RequestHead,
        in bytes: Span<UInt8>
    ) throws(Rejection) -> (content: [UInt8], end: Int)? {
        switch head.framing {
        case .length(let length):
            guard bytes.count - head.length >= length else { return nil }
            let end = head.length + length
            return ([UInt8](copying: bytes.extracting(head.length..<end)), end)
        case .chunked:
            var content =
                chunks
                ?? ChunkedContent(
                    from: head.length,
                    contentLimit: contentLimit,
                    framingLimit: headLimit + contentLimit
                )
            chunks = nil  // Two owners would copy the content with each arrival.
            let end = try content.end(in: bytes)
            guard let end else {
                chunks = content
                return nil
            }
            return (content.bytes, end)
        }
    }
}
