import HTTP

/// Reads requests from any bytes: at once, in pieces, and each by a new parser, with the same result.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRequest(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    let whole = requests(in: bytes, pieces: [])
    // Where to split is taken from the bytes themselves, so that a finding is one file.
    let pieces = bytes.prefix(4).map { Int($0) + 1 }
    precondition(requests(in: bytes, pieces: pieces) == whole, "the result depends on the splits")
    precondition(requests(in: bytes, pieces: [1]) == whole, "the result depends on the splits")
    let apart = requests(in: bytes, pieces: [], remembering: false)
    precondition(apart == whole, "the result depends on the requests before")
    return 0
}

/// What the parser makes of all that arrives on a connection.
private enum Event: Equatable {
    case request(target: String, path: String, method: Method, fields: [String?], content: [UInt8])
    case rejected(Rejection)
}

/// Gives the parser so many bytes at a time, the sizes over and over again; all at once without sizes.
private func requests(
    in bytes: [UInt8],
    pieces: [Int],
    remembering: Bool = true
) -> [Event] {
    let newParser = RequestParser(maxHeadBytes: 512, contentLimit: 16)
    var parser = newParser
    var events: [Event] = []
    var (start, end, turn) = (0, pieces.isEmpty ? bytes.count : 0, 0)
    while true {
        switch parser.parse(bytes.span.extracting(start..<end)) {
        case .request(let request, let consumed):
            precondition(consumed > 0 && consumed <= end - start)
            start += consumed
            events.append(event(request))
            if !remembering { parser = newParser }
        case .reject(let rejection): return events + [.rejected(rejection)]
        case .needMore:
            guard end < bytes.count else { return events }
            end = min(bytes.count, end + pieces[turn % pieces.count])
            turn += 1
        }
    }
}

/// Asks all that a handler can ask.
private func event(_ request: Request) -> Event {
    precondition(!request.target.isEmpty && !request.path.isEmpty)
    let fields = ["host", "Accept", "x"].map { request.header($0) } + [request.query("a")]
    return .request(
        target: request.target,
        path: request.path,
        method: request.method,
        fields: fields,
        content: request.body
    )
}
