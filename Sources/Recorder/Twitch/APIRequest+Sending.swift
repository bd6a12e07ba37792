import CCurl
import Posix

extension APIRequest {
    /// Sends the request and takes what is answered, whatever the status; a redirect is not followed.
    ///
    /// - Throws: `FetchError`; `.cancelled` as soon as `stop` is requested, unless the answer is whole by then.
    func send(
        _ limits: Fetcher.Limits,
        until stop: StopSignal
    ) throws(FetchError) -> APIAnswer {
        let easy = try EasyHandle(headers: headers, cookies: CookieShare())
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
