import Foundation

/// What has come of one answer so far; pure.
struct Exchange {
    /// Bytes of all heads together, those of interim answers and trailers included.
    static let headLimit = 256 << 10
    /// Bytes that are taken of a body nobody wants, so that the connection can be used again.
    static let wasteLimit = 64 << 10

    private let limit: Int
    private var headBytes = 0
    private var wastedBytes = 0
    /// The status, once the head is whole.
    private(set) var status: Int?
    private(set) var body: [UInt8] = []
    /// Why the rest is not wanted.
    private(set) var refusal: FetchError?

    /// `limit` counts the bytes of the body.
    init(limit: Int) {
        self.limit = limit
    }

    /// Whether the head tells all there is to know: only an answer of 200 has a body that counts.
    var isSettled: Bool { status.map { $0 != 200 } ?? false }

    /// Takes a line of the head; whether more of it is wanted.
    mutating func takeHeadLine(byteCount: Int) -> Bool {
        headBytes += byteCount
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
            wastedBytes += piece.count
            return wastedBytes <= Self.wasteLimit
        }
        guard max(body.count + piece.count, announced ?? 0) <= limit else {
            refusal = .tooLarge(limit: limit)
            return false
        }
        if body.isEmpty, let announced { body.reserveCapacity(announced) }
        unsafe piece.withUnsafeBufferPointer { unsafe body.append(contentsOf: $0) }
        return true
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
        do throws(AddressError) {
            url = try MediaAddress.resolve(location, at: url)
        } catch {
            throw .address(error)
        }
        guard left > 0 else { throw .tooMany }
        left -= 1
    }
}
