import CCurl
import Foundation
import Posix

/// One request at a time over libcurl, by way of its redirects.
///
/// Redirects are followed here and not by libcurl, since `MediaAddress` has the rules for them.
struct FetcherClient: ~Copyable {
    /// How long a body that nobody wants may take, before the connection is given up instead.
    private static let wasteTime = Duration.milliseconds(500)

    private let easy: EasyHandle
    private let multi: MultiHandle

    init(headers: [String: String]) throws(FetchError) {
        let easy = try EasyHandle(headers: headers)
        try easy.configure()
        multi = try MultiHandle()
        self.easy = easy
    }

    /// What an answer comes to.
    private enum Answer {
        case body([UInt8])
        case redirect(String)
    }

    func get(
        _ url: URL,
        limits: Fetcher.Limits,
        until stop: StopSignal
    ) throws(FetchError) -> FetchedBody {
        let deadline = BootTime.now().advanced(by: limits.timeout)
        var way = Redirection(from: url, atMost: limits.redirects)
        while true {
            var exchange = Exchange(limit: limits.bytes)
            let result = try ask(way.url, for: &exchange, by: deadline, until: stop)
            easy.boundCookies()
            switch try answer(exchange, result) {
            case .body(let bytes): return FetchedBody(bytes: bytes, url: way.url)
            case .redirect(let location): try follow(location, on: &way)
            }
        }
    }

    private func follow(
        _ location: String,
        on way: inout Redirection
    ) throws(FetchError) {
        do throws(RedirectError) {
            try way.follow(location)
        } catch {
            throw .refusedRedirect(error)
        }
    }

    /// Sends one request and takes what comes; libcurl's result.
    private func ask(
        _ url: URL,
        for exchange: inout Exchange,
        by deadline: BootTime,
        until stop: StopSignal
    ) throws(FetchError) -> CURLcode {
        try unsafe easy.transfer(url, into: &exchange, timeout: deadline.since(.now())) {
            easy,
            isSettled throws(FetchError) in
            try unsafe multi.add(easy)
            // Closes the connection, unless the answer has come to its end.
            defer { unsafe multi.remove(easy) }
            return try drive(by: deadline, until: stop, isSettled)
        }
    }

    private func drive(
        by deadline: BootTime,
        until stop: StopSignal,
        _ isSettled: () -> Bool
    ) throws(FetchError) -> CURLcode {
        var end = deadline
        while true {
            if let result = try multi.perform() { return result }
            if stop.isRequested { throw .cancelled }
            let now = BootTime.now()
            if end == deadline, isSettled() {
                end = min(deadline, now.advanced(by: Self.wasteTime))
            }
            guard now < end else { return CURLE_OPERATION_TIMEDOUT }
            try multi.wait(for: end.since(now), or: stop.readableDescriptor)
        }
    }

    /// The head's word counts before the end's: of an error page it does not matter whether it is whole.
    private func answer(_ exchange: Exchange, _ result: CURLcode) throws(FetchError) -> Answer {
        if let refusal = exchange.refusal { throw refusal }
        if exchange.isSettled, let status = exchange.status {
            guard Redirection.isMeant(by: status), let location = easy.location else {
                throw .http(status: status)
            }
            return .redirect(location)
        }
        guard result == CURLE_OK else { throw failure(exchange, result) }
        return .body(exchange.body)
    }

    private func failure(_ exchange: Exchange, _ result: CURLcode) -> FetchError {
        if result == CURLE_OPERATION_TIMEDOUT { return .timedOut }
        let received = exchange.body.count
        if exchange.status != nil, let announced = easy.announcedBytes, received < announced {
            return .truncated(received: received, announced: announced)
        }
        return .network(easy.text(of: result))
    }
}
