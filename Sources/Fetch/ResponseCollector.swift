import FoundationEssentials
import Posix

/// Collects one response as it arrives, within limits; pure.
struct ResponseCollector {
    /// Bytes of all heads together, interim responses and trailers included.
    static let maxHeadBytes = 256 << 10
    /// Bytes that are allocated at once for a body, whatever length it announces.
    static let maxReservedBytes = 4 << 20
    /// Bytes that are read of a body that does not matter, so that the connection can be used again.
    static let maxDiscardedBytes = 64 << 10

    private let limit: Int
    private let range: ByteRange?
    private let acceptsAnyStatus: Bool
    /// The memory that the body has reserved; `nil` if only `limit` bounds it.
    private let room: MemoryReservation?
    private var headBytes = 0
    private var discardedBytes = 0
    /// Bytes of a complete resource that have arrived, of which only a range is wanted.
    private var seenBytes = 0
    /// The status, once the head is complete.
    private(set) var status: Int?
    private(set) var body: [UInt8] = []
    /// Why the rest was refused.
    private(set) var refusal: FetchError?

    /// `limit` counts the bytes of the body, up to the end of the range that is wanted of it.
    ///
    /// Only a response of 200, or 206 to a range, has a body that matters; with `acceptsAnyStatus` every response has.
    init(
        limit: Int,
        range: ByteRange? = nil,
        acceptsAnyStatus: Bool = false,
        in room: MemoryReservation? = nil
    ) {
        (self.limit, self.range, self.acceptsAnyStatus) = (limit, range, acceptsAnyStatus)
        self.room = room
    }

    /// Whether the head is all that matters of this response.
    var isSettled: Bool {
        guard !acceptsAnyStatus else { return false }
        return switch status {
        case nil, 200: false
        case 206: range == nil
        default: true
        }
    }

    /// Whether the wanted range of a complete resource has arrived: the rest is not waited for.
    var isComplete: Bool { range.map { status == 200 && seenBytes >= $0.end } ?? false }

    /// Adds a line of the head; whether more is wanted.
    mutating func addHeadLine(byteCount: Int) -> Bool {
        headBytes = headBytes.addingWithSaturation(byteCount)
        guard headBytes > Self.maxHeadBytes else { return true }
        if !isSettled { refusal = .network("the response head is too long") }
        return false
    }

    /// Adds the empty line that ends a head; ignores those of interim responses (RFC 9110, section 15.2).
    mutating func endHead(status: Int) {
        if status >= 200 { self.status = status }
    }

    /// Adds a piece of a body of `announced` bytes; whether more is wanted.
    mutating func addBody(_ piece: Span<UInt8>, announced: Int?) -> Bool {
        guard !isSettled else {
            discardedBytes = discardedBytes.addingWithSaturation(piece.count)
            return discardedBytes <= Self.maxDiscardedBytes
        }
        if let range, status == 200 { return add(range, of: piece) }
        guard max(body.count.addingWithSaturation(piece.count), announced ?? 0) <= limit else {
            refusal = .tooLarge(limit: limit)
            return false
        }
        guard room?.cover(max(body.count + piece.count, announced ?? 0)) ?? true else {
            refusal = .noRoom
            return false
        }
        if body.isEmpty, let announced {
            body.reserveCapacity(min(max(0, announced), Self.maxReservedBytes))
        }
        append(piece)
        return true
    }

    /// Adds what lies in `range`: a server that does not support ranges sends everything (RFC 9110, section 14.2).
    private mutating func add(_ range: ByteRange, of piece: Span<UInt8>) -> Bool {
        guard range.end <= limit else {
            refusal = .tooLarge(limit: limit)
            return false
        }
        let first = max(0, range.offset - seenBytes)
        let end = min(piece.count, range.end - seenBytes)
        seenBytes = seenBytes.addingWithSaturation(piece.count)
        // Never more than the range, whatever heads arrived before this one.
        let left = range.count.subtractingWithSaturation(body.count)
        guard first < end, end - first <= left else { return !isComplete }
        guard room?.cover(body.count + end - first) ?? true else {
            refusal = .noRoom
            return false
        }
        append(piece.extracting(first..<end))
        return !isComplete
    }

    private mutating func append(_ piece: Span<UInt8>) {
        unsafe piece.withUnsafeBufferPointer { unsafe body.append(contentsOf: $0) }
    }
}

/// The redirects of a request; pure.
struct Redirection {
    private(set) var url: URL
    private var left: Int

    init(from url: URL, atMost limit: Int) {
        (self.url, left) = (url, limit)
    }

    /// Whether a response of this status, with a `Location`, is a redirect.
    static func applies(to status: Int) -> Bool {
        [301, 302, 303, 307, 308].contains(status)
    }

    /// Continues at `location`, relative to the current address.
    mutating func follow(_ location: String) throws(RedirectError) {
        do throws(URLPolicyError) {
            url = try URLPolicy.resolve(location, at: url)
        } catch {
            throw .address(error)
        }
        guard left > 0 else { throw .tooMany }
        left -= 1
    }
}
