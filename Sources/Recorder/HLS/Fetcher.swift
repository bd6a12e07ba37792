import Foundation
import Posix
import Synchronization

/// Blocking HTTP GET, one at a time, over connections that are kept between requests and end with it.
///
/// - Proxies are those of the environment, as for other programs: `http_proxy`, `https_proxy`, `no_proxy`.
/// - Servers of `https` must prove themselves to the system's certificates; nothing turns that off.
/// - Cookies that a server sets go back to it: some networks let nobody have a segment without.
final class Fetcher: Sendable {
    /// The bounds of one request.
    struct Limits: Equatable, Sendable {
        /// Bytes of the body.
        var bytes: Int
        /// From the request to the last byte, redirects included.
        var timeout: Duration
        var redirects = 10
    }

    /// Locked while a request is under way: a handle serves one thread.
    private let client: Mutex<Result<FetcherClient, FetchError>>

    /// `headers` go with every request, wherever it is redirected to.
    init(headers: [String: String] = [:]) {
        client = Mutex(
            Result { () throws(FetchError) in try FetcherClient(headers: headers) }
        )
    }

    /// Gets the whole body at `url`.
    ///
    /// - Throws: `FetchError`; `.cancelled` as soon as `stop` is requested, unless the body is whole by then.
    func get(
        _ url: URL,
        limits: Limits,
        until stop: StopSignal
    ) throws(FetchError) -> FetchedBody {
        try client.withLock { client throws(FetchError) in
            switch client {
            case .success(let client): try client.get(url, limits: limits, until: stop)
            case .failure(let error): throw error
            }
        }
    }
}

/// A body that has arrived whole.
struct FetchedBody: Equatable, Sendable {
    let bytes: [UInt8]
    /// The address after all redirects.
    let url: URL
}

/// Why a body could not be had; texts contain no query of an address.
enum FetchError: Error, Equatable, CustomStringConvertible {
    case network(String)
    case timedOut
    /// An answer other than 200.
    case http(status: Int)
    /// Fewer or more bytes came than were announced.
    case truncated(received: Int, announced: Int)
    case tooLarge(limit: Int)
    case refusedRedirect(RedirectError)
    case cancelled

    var description: String {
        switch self {
        case .network(let text): text
        case .timedOut: "timed out"
        case .http(let status): "HTTP status \(status)"
        case .truncated(let received, let announced): "\(received) of \(announced) bytes received"
        case .tooLarge(let limit): "larger than \(limit) bytes"
        case .refusedRedirect(.tooMany): "too many redirects"
        case .refusedRedirect(.address(let error)): "redirect: \(error)"
        case .cancelled: "cancelled"
        }
    }

    /// Whether the resource itself is gone, not only out of reach.
    var isGone: Bool { self == .http(status: 404) || self == .http(status: 410) }
}

enum RedirectError: Error, Equatable {
    case tooMany
    case address(AddressError)
}
