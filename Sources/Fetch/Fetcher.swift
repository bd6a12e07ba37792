package import FoundationEssentials
package import Posix
import Synchronization

/// Blocking HTTP GET, one at a time, over connections that are kept between requests and end with it.
///
/// - Proxies are those of the environment, as for other programs: `http_proxy`, `https_proxy`, `no_proxy`.
/// - Servers of `https` must prove themselves to the system's certificates; nothing turns that off.
/// - Cookies that a server sets go back to it: some networks let nobody have a segment without.
package final class Fetcher: Sendable {
    /// Locked while a request is under way: the handles serve one thread.
    private let transfers: Mutex<Result<Transfers, FetchError>>

    /// `headers` go with every request, wherever it is redirected to.
    package init(headers: [String: String] = [:], userAgent: String) {
        transfers = Mutex(
            Result { () throws(FetchError) in
                try Transfers(headers: headers, userAgent: userAgent)
            }
        )
    }

    /// Gets the whole body at `url`.
    ///
    /// - Throws: `FetchError`; `.cancelled` as soon as `stop` is requested, unless the body is whole by then.
    package func get(
        _ url: URL,
        range: ByteRange? = nil,
        limits: FetchLimits,
        until stop: StopSignal
    ) throws(FetchError) -> FetchedBody {
        let request = FetchRequest(url: url, range: range, limits: limits)
        return try transfers.withLock { transfers throws(FetchError) in
            switch transfers {
            case .success(let transfers): try transfers.get(request, until: stop)
            case .failure(let error): throw error
            }
        }
    }
}

extension Transfers {
    fileprivate func get(
        _ request: FetchRequest,
        until stop: StopSignal
    ) throws(FetchError) -> FetchedBody {
        _ = start(request, as: .start)
        // The request has a deadline of its own.
        guard let ended = wait(until: nil, or: stop).first else {
            cancelAll()
            throw .cancelled
        }
        return try ended.result.get()
    }
}

/// A body that has arrived whole.
package struct FetchedBody: Equatable, Sendable {
    package let bytes: [UInt8]
    /// The address after all redirects.
    package let url: URL
}
