import FoundationEssentials
import Posix

/// What has come of one answer so far; pure.
struct Exchange {
    /// Bytes of all heads together, those of interim answers and trailers included.
    static let headLimit = 256 << 10
    /// Bytes that are set aside at once for a body, however much of it is announced.
    static let reserveLimit = 4 << 20
    /// Bytes that are taken of a body nobody wants, so that the connection can be used again.
    static let wasteLimit = 64 << 10

    private let limit: Int
    private let range: ByteRange?
    private let takesAnyStatus: Bool
    /// What the body has of the memory; `nil` where `limit` alone bounds it.
    private let room: MemoryReservation?
    private var headBytes = 0
    private var wastedBytes = 0
    /// Bytes of a whole resource that have come, where only a range of it is wanted.
    private var passedBytes = 0
    /// The status, once the head is whole.
    private(set) var status: Int?
    private(set) var body: [UInt8] = []
    /// Why the rest is not wanted.
    private(set) var refusal: FetchError?

    /// `limit` counts the bytes of the body, up to the end of the range that is wanted of it.
    ///
    /// Only an answer of 200, or 206 to a range, has a body that counts; with `takesAnyStatus` every answer has.
    init(
        limit: Int,
        range: ByteRange? = nil,
        takesAnyStatus: Bool = false,
        in room: MemoryReservation? = nil
    ) {
        (self.limit, self.range, self.takesAnyStatus) = (limit, range, takesAnyStatus)
        self.room = room
    }

    /// Whether the head tells all there is to know, since the body does not count.
    var isSettled: Bool {
        guard !takesAnyStatus else { return false }
        return switch status {
        case nil, 200: false
        case 206: range == nil
        default: true
        }
    }

    /// Whether the wanted range of a whole resource has come: its rest is not waited for.
    var isComplete: Bool { range.map { status == 200 && passedBytes >= $0.end } ?? false }

    /// Takes a line of the head; whether more of it is wanted.
    mutating func takeHeadLine(byteCount: Int) -> Bool {
        headBytes = headBytes.addingWithSaturation(byteCount)
        guard headBytes > Self.headLimit else { return true }
        if !isSettled { refusal = .network("the head of the answer is too long") }
        return false
    }

    /// Takes the empty line that ends a head; one of an interim answer (RFC 9110, section 15.2) counts for nothing.
    mutating func endHead(status: Int) {
        if status >= 200 { self.status = status }
    }

    /// Takes a piece of the body, of which `announced` bytes are to come in all; whether more of it is wanted.
    mutating func takeBody(_ piece: Span<UInt8>, announced: Int?) -> Bool {
        guard !isSettled else {
            wastedBytes = wastedBytes.addingWithSaturation(piece.count)
            return wastedBytes <= Self.wasteLimit
        }
        if let range, status == 200 { return take(range, outOf: piece) }
        guard max(body.count.addingWithSaturation(piece.count), announced ?? 0) <= limit else {
            refusal = .tooLarge(limit: limit)
            return false
        }
        guard room?.cover(max(body.count + piece.count, announced ?? 0)) ?? true else {
            refusal = .noRoom
            return false
        }
        if body.isEmpty, let announced {
            body.reserveCapacity(min(max(0, announced), Self.reserveLimit))
        }
        append(piece)
        return true
    }

    /// Takes what lies in `range`: a server need not know ranges, and then sends all (RFC 9110, section 14.2).
    private mutating func take(_ range: ByteRange, outOf piece: Span<UInt8>) -> Bool {
        guard range.end <= limit else {
            refusal = .tooLarge(limit: limit)
            return false
        }
        let first = max(0, range.offset - passedBytes)
        let end = min(piece.count, range.end - passedBytes)
        passedBytes = passedBytes.addingWithSaturation(piece.count)
        // Nothing more than the range, whatever heads came before this one.
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

/// The way of a request from address to address; pure.
struct Redirection {
    private(set) var url: URL
    private var left: Int

    init(from url: URL, atMost limit: Int) {
        (self.url, left) = (url, limit)
    }

    /// Whether an answer of this status, with a `Location`, says where to ask instead.
    static func isMeant(by status: Int) -> Bool {
        [301, 302, 303, 307, 308].contains(status)
    }

    /// Goes on to where `location` points from here.
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
