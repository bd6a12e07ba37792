import Foundation
import FoundationNetworking
import Glibc
import Posix

/// Blocking HTTP GET, one at a time, over a session of its own that ends with it.
final class Fetcher: Sendable {
    /// The bounds of one request.
    struct Limits: Equatable, Sendable {
        /// Bytes of the body.
        var bytes: Int
        /// From the request to the last byte.
        var timeout: Duration
        var redirects = 10
    }

    private let session: URLSession
    private let exchanges = ExchangeDelegate()

    /// `headers` go with every request.
    init(headers: [String: String] = [:]) {
        let configuration = URLSessionConfiguration.ephemeral
        configuration.urlCache = nil
        configuration.requestCachePolicy = .reloadIgnoringLocalCacheData
        // A compressed body would make Content-Length useless as the proof that it is whole.
        let own = ["User-Agent": "streamvault-recorder", "Accept-Encoding": "identity"]
        configuration.httpAdditionalHeaders = own.merging(headers) { _, given in given }
        session = URLSession(
            configuration: configuration,
            delegate: exchanges,
            delegateQueue: nil
        )
    }

    deinit { session.invalidateAndCancel() }

    /// Gets the whole body at `url`.
    ///
    /// - Throws: `FetchError`; `.cancelled` as soon as `stop` is requested, unless the body is whole by then.
    func get(
        _ url: URL,
        limits: Limits,
        until stop: StopSignal
    ) throws(FetchError) -> FetchedBody {
        let exchange = try Exchange(url: url, limits: limits)
        var request = URLRequest(url: url)
        // Longer than the wait below, which bounds the whole request.
        request.timeoutInterval = limits.timeout.inSeconds + 1
        let task = session.dataTask(with: request)
        exchanges.begin(exchange, as: task.taskIdentifier)
        defer { exchanges.end(task.taskIdentifier) }
        task.resume()
        let failure = exchange.wait(for: limits.timeout, until: stop)
        exchange.settle { task.cancel() }
        return try exchange.result(or: failure)
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
