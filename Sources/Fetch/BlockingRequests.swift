import CCurl
package import FoundationEssentials
package import Posix
import Synchronization

/// Blocking HTTP GET, one at a time; connections are kept between requests.
package final class Fetcher: Sendable {
    /// Locked during a request: the handles serve one thread.
    private let transfers: Mutex<Result<Transfers, FetchError>>

    /// `headers` are sent with every request, wherever it is redirected to.
    package init(headers: [String: String] = [:], userAgent: String) {
        transfers = Mutex(
            Result { () throws(FetchError) in
                try Transfers(headers: headers, userAgent: userAgent)
            }
        )
    }

    /// Fetches the complete body at `url`.
    ///
    /// - Throws: `FetchError`; `.cancelled` as soon as `stop` is requested, unless the body is complete by then.
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

/// A complete body.
package struct FetchedBody: Equatable, Sendable {
    package let bytes: [UInt8]
    /// The address after all redirects.
    package let url: URL
}

/// A request to an API: small, and answered at once.
package struct APIRequest: Sendable {
    package let url: URL
    package var method = "GET"
    package var headers: [String: String] = [:]
    package var body: [UInt8] = []

    package init(url: URL) { self.url = url }

    /// Sends the request and returns the response, whatever its status; does not follow redirects.
    ///
    /// - Throws: `FetchError`; `.cancelled` as soon as `stop` is requested, unless the response is complete by then.
    package func send(
        _ limits: FetchLimits,
        userAgent: String,
        until stop: StopSignal
    ) throws(FetchError) -> APIAnswer {
        let easy = try EasyHandle(headers: headers, userAgent: userAgent, cookies: CookieShare())
        try easy.setContent(method, body)
        let collector = ResponseCollector(limit: limits.bytes, acceptsAnyStatus: true)
        let request = FetchRequest(url: url, limits: limits)
        try easy.prepare(url, request, timeout: limits.timeout, into: collector)
        let deadline = BootTime.now().advanced(by: limits.timeout)
        let result = try transfer(over: easy, by: deadline, until: stop)
        return try answer(of: easy, result)
    }

    private func transfer(
        over easy: EasyHandle,
        by deadline: BootTime,
        until stop: StopSignal
    ) throws(FetchError) -> CURLcode {
        let multi = try MultiHandle()
        try multi.add(easy)
        defer { multi.remove(easy) }
        while true {
            if let ended = try multi.perform().first { return ended.code }
            if stop.isRequested { throw .cancelled }
            let now = BootTime.now()
            guard now < deadline else { throw .timedOut }
            try multi.wait(for: deadline.since(now), or: stop.readableDescriptor)
        }
    }

    private func answer(of easy: EasyHandle, _ result: CURLcode) throws(FetchError) -> APIAnswer {
        let collector = easy.collector
        if let refusal = collector.refusal { throw refusal }
        if result == CURLE_OPERATION_TIMEDOUT { throw .timedOut }
        guard result == CURLE_OK, let status = collector.status else {
            throw .network(easy.text(of: result))
        }
        return APIAnswer(
            status: status,
            body: collector.body,
            retryAfter: easy.header("Retry-After"),
            rateLimitReset: easy.header("Ratelimit-Reset")
        )
    }
}

/// A response, whatever its status.
package struct APIAnswer: Sendable {
    package let status: Int
    package let body: [UInt8]
    /// `Retry-After`, in seconds.
    package var retryAfter: String?
    /// `Ratelimit-Reset`, in seconds since 1970, as Twitch sends it.
    package var rateLimitReset: String?

    package init(
        status: Int,
        body: [UInt8],
        retryAfter: String? = nil,
        rateLimitReset: String? = nil
    ) {
        (self.status, self.body) = (status, body)
        (self.retryAfter, self.rateLimitReset) = (retryAfter, rateLimitReset)
    }

    private static let maxPause = Duration.seconds(120)

    /// How long the server asks to wait; limited, because a clock may be wrong.
    package func pause(at now: WallTime) -> Duration? {
        let fromReset = rateLimitReset.flatMap { UInt64($0) }.map { reset in
            Duration.seconds(Int(clamping: reset) - Int(clamping: now.nanoseconds / 1_000_000_000))
        }
        let wish = retryAfter.flatMap { Int($0) }.map { Duration.seconds($0) } ?? fromReset
        return wish.map { min(max($0, .zero), Self.maxPause) }
    }
}
