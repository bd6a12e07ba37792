/// Why a body could not be had; texts contain no query of an address.
package enum FetchError: Error, Equatable, CustomStringConvertible {
    case network(String)
    case timedOut
    /// An answer other than 200, or 206 to a range.
    case http(status: Int)
    /// Fewer or more bytes came than were announced.
    case truncated(received: Int, announced: Int)
    case tooLarge(limit: Int)
    case refusedRedirect(RedirectError)
    /// The server has no address that may be asked.
    case refusedAddress(AddressRefusal)
    /// The memory of all streams is full, and the segment not the next in order.
    case noRoom
    case cancelled

    package var description: String {
        switch self {
        case .network(let text): text
        case .timedOut: "timed out"
        case .http(let status): "HTTP status \(status)"
        case .truncated(let received, let announced): "\(received) of \(announced) bytes received"
        case .tooLarge(let limit): "larger than \(limit) bytes"
        case .refusedRedirect(.tooMany): "too many redirects"
        case .refusedRedirect(.address(let error)): "redirect: \(error)"
        case .refusedAddress(let refusal): "refused: \(refusal)"
        case .noRoom: "no room in the memory for segments"
        case .cancelled: "cancelled"
        }
    }

    /// Whether the resource itself is gone, not only out of reach.
    package var isGone: Bool { self == .http(status: 404) || self == .http(status: 410) }
}

package enum RedirectError: Error, Equatable {
    case tooMany
    case address(URLPolicyError)
}
