@testable import HTTP

/// An outcome that can be compared: for a request, what it left over.
enum Parsed: Equatable {
    case incomplete
    case request(rest: Int)
    case rejected(Rejection)

    var isRequest: Bool {
        if case .request = self { true } else { false }
    }
}

/// Gives the parser all of `text` at once.
func parse(_ text: some StringProtocol, headLimit: Int = 8192, contentLimit: Int = 0) -> Parsed {
    parse(Array(text.utf8), splitAt: [], headLimit: headLimit, contentLimit: contentLimit)
}

/// Gives the parser longer and longer beginnings of `bytes`, until it decides.
func parse(
    _ bytes: [UInt8],
    splitAt splits: [Int],
    headLimit: Int = 8192,
    contentLimit: Int = 0
) -> Parsed {
    var parser = RequestParser(headLimit: headLimit, contentLimit: contentLimit)
    for end in splits + [bytes.count] {
        switch parser.parse(bytes.span.extracting(first: end)) {
        case .needMore: continue
        case .request(_, let consumed): return .request(rest: bytes.count - consumed)
        case .reject(let rejection): return .rejected(rejection)
        }
    }
    return .incomplete
}

/// The request that `text` is; `nil` when it is none.
func parsedRequest(_ text: String, contentLimit: Int = 0) -> Request? {
    var parser = RequestParser(contentLimit: contentLimit)
    guard case .request(let request, _) = parser.parse(Array(text.utf8).span, peer: "::1") else {
        return nil
    }
    return request
}
