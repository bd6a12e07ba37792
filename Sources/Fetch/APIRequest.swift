import CCurl
package import FoundationEssentials
package import Posix

/// A request of an API: small, and answered at once.
package struct APIRequest: Sendable {
    package let url: URL
    package var method = "GET"
    package var headers: [String: String] = [:]
    package var body: [UInt8] = []

    package init(url: URL) { self.url = url }

    /// Sends the request and takes what is answered, whatever the status; a redirect is not followed.
    ///
    /// - Throws: `FetchError`; `.cancelled` as soon as `stop` is requested, unless the answer is whole by then.
    package func send(
        _ limits: FetchLimits,
        userAgent: String,
        until stop: StopSignal
    ) throws(FetchError) -> APIAnswer {
        let easy = try EasyHandle(headers: headers, userAgent: userAgent, cookies: CookieShare())
        try easy.setContent(method, body)
        let exchange = Exchange(limit: limits.bytes, takesAnyStatus: true)
        let request = FetchRequest(url: url, limits: limits)
        try easy.aim(at: url, request, timeout: limits.timeout, into: exchange)
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
        let exchange = easy.exchange
        if let refusal = exchange.refusal { throw refusal }
        if result == CURLE_OPERATION_TIMEDOUT { throw .timedOut }
        guard result == CURLE_OK, let status = exchange.status else {
            throw .network(easy.text(of: result))
        }
        return APIAnswer(
            status: status,
            body: exchange.body,
            retryAfter: easy.header("Retry-After"),
            rateLimitReset: easy.header("Ratelimit-Reset")
        )
    }
}

/// What a server answered, whatever its status.
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

    private static let longestPause = Duration.seconds(120)

    /// How long the server wants to be left alone; bounded, for a clock may be wrong.
    package func pause(at now: WallTime) -> Duration? {
        let fromReset = rateLimitReset.flatMap { UInt64($0) }.map { reset in
            Duration.seconds(Int(clamping: reset) - Int(clamping: now.nanoseconds / 1_000_000_000))
        }
        let wish = retryAfter.flatMap { Int($0) }.map { Duration.seconds($0) } ?? fromReset
        return wish.map { min(max($0, .zero), Self.longestPause) }
    }
}
