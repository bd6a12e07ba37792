/// Bytes of a connection that no request has taken yet.
struct Inbox {
    private var bytes: [UInt8] = []
    private var start = 0

    var isEmpty: Bool { start == bytes.count }

    mutating func append(_ received: ArraySlice<UInt8>) {
        bytes.append(contentsOf: received)
    }

    /// Reads the next request; what it takes is gone.
    mutating func next(_ parser: inout RequestParser, peer: String) -> RequestParser.Outcome {
        let outcome = parser.parse(bytes.span.extracting(droppingFirst: start), peer: peer)
        if case .request(_, let consumed) = outcome { start += consumed }
        return outcome
    }

    /// Whether the next request is one by HEAD, as far as can be seen.
    var beginsWithHead: Bool {
        let rest = bytes.span.extracting(droppingFirst: start)
        let line = rest.extracting(droppingFirst: rest.extracting(first: 2).equals("\r\n") ? 2 : 0)
        return line.extracting(first: 5).equals("HEAD ")
    }

    /// Moves what is left to the front; called once for all requests that one arrival held.
    mutating func compact() {
        guard start > 0 else { return }
        let keeps = bytes.capacity <= Self.keptCapacity
        bytes.replaceSubrange(..<start, with: EmptyCollection())
        if bytes.isEmpty, !keeps { bytes = [] }
        start = 0
    }

    /// Takes out all that is left.
    mutating func takeAll() -> [UInt8] {
        defer { (bytes, start) = ([], 0) }
        return Array(bytes[start...])
    }

    /// What an idle connection may hold on to.
    private static let keptCapacity = 2048
}
