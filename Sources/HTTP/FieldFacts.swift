/// How the content of a request ends.
enum Framing: Equatable {
    case length(Int)
    case chunked
}

/// What the server itself must know of the fields: how the message is framed, whether the connection stays, who asks.
struct FieldFacts {
    private var hosts = 0
    private var contentLength: Int?
    /// Whether they are chunked and no other; otherwise why not.
    private var codings: Result<Framing, Rejection>?
    private var closes = false
    private var staysAlive = false
    private var expectation: Bool?
    /// Whether it has a field that browsers send and programs do not.
    private(set) var isFromBrowser = false

    mutating func note(_ name: Span<UInt8>, _ value: Span<UInt8>) throws(Rejection) {
        switch name.count {  // Most names are told apart by their length.
        case 4 where name.equalsIgnoringCase("host"): try noteHost(value)
        case 6 where name.equalsIgnoringCase("expect"):
            expectation = expectation ?? true && value.equalsIgnoringCase("100-continue")
        case 6 where name.equalsIgnoringCase("origin"): isFromBrowser = true
        case 7 where name.equalsIgnoringCase("referer"): isFromBrowser = true
        case 10 where name.equalsIgnoringCase("user-agent"):
            if value.contains("Mozilla") { isFromBrowser = true }
        case 10 where name.equalsIgnoringCase("connection"): noteConnection(value)
        case 14 where name.equalsIgnoringCase("content-length"): try noteLength(value)
        case 14 where name.equalsIgnoringCase("sec-fetch-site"): isFromBrowser = true
        case 15 where name.equalsIgnoringCase("accept-language"): isFromBrowser = true
        case 17 where name.equalsIgnoringCase("transfer-encoding"): noteCodings(value)
        default: break
        }
    }

    /// How the content that follows the head ends.
    func framing(minorVersion: Int, limit: Int) throws(Rejection) -> Framing {
        guard hosts == 1 || (hosts == 0 && minorVersion == 0) else { throw .host }
        if let codings {
            guard minorVersion > 0 else { throw .codingInHTTP10 }
            guard contentLength == nil else { throw .bothLengths }
            return try codings.get()
        }
        guard let contentLength else { return .length(0) }
        guard contentLength <= limit else { throw .longContent }
        return .length(contentLength)
    }

    /// RFC 9112 §9.3.
    func keepsAlive(minorVersion: Int) -> Bool {
        !closes && (minorVersion > 0 || staysAlive)
    }

    /// Whether the client waits for a `100 Continue`; one that speaks HTTP/1.0 cannot (RFC 9110 §10.1.1).
    func expectsContinue(minorVersion: Int) throws(Rejection) -> Bool {
        guard minorVersion > 0, let expectation else { return false }
        guard expectation else { throw .expectation }
        return true
    }
}

extension FieldFacts {
    private mutating func noteHost(_ value: Span<UInt8>) throws(Rejection) {
        hosts += 1
        // An empty one stands for a target that has no authority (RFC 9112 §3.2).
        guard hosts == 1, value.isEmpty || Authority(value) != nil else { throw .host }
    }

    private mutating func noteConnection(_ value: Span<UInt8>) {
        var rest = 0..<value.count
        while let item = value.nextListItem(in: &rest) {
            let option = value.extracting(item)
            if option.equalsIgnoringCase("close") { closes = true }
            if option.equalsIgnoringCase("keep-alive") { staysAlive = true }
        }
    }

    /// Digits and nothing else, no sign and no list; a number beyond `Int` is a length, and too long.
    private mutating func noteLength(_ value: Span<UInt8>) throws(Rejection) {
        guard contentLength == nil, !value.isEmpty, value.allSatisfy(\.isDigit) else {
            throw .contentLength
        }
        contentLength = Int(String(decoding: value)) ?? .max
    }

    /// Judged by the last coding of the last line: that is the one which frames the content.
    private mutating func noteCodings(_ value: Span<UInt8>) {
        var rest = 0..<value.count
        var last = 0..<0
        var count = codings == nil ? 0 : 1
        while let item = value.nextListItem(in: &rest) {
            last = item
            count += 1
        }
        let isChunked = value.extracting(last).equalsIgnoringCase("chunked")
        codings =
            !isChunked
            ? .failure(.notChunked) : count == 1 ? .success(.chunked) : .failure(.unknownCoding)
    }
}
