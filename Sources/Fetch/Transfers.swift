import CCurl
package import FoundationEssentials
import Glibc
package import Posix

/// HTTP GETs over libcurl, several at once, all of them driven by the thread that waits for them.
///
/// They share connections and cookies. Redirects are followed here and not by libcurl, because `URLPolicy` has rules for them.
///
/// - Proxies are those of the environment, as for other programs: `http_proxy`, `https_proxy`, `no_proxy`.
/// - Servers of `https` are verified with the system's certificates; nothing turns that off.
/// - Cookies that a server sets are sent back to it: some networks deliver no segment without.
package final class Transfers {
    /// The result of a request.
    package struct Ended {
        package let id: Int
        package let result: Result<FetchedBody, FetchError>
    }

    /// Before libcurl is tried again when it fails without an active transfer.
    private static let pauseAfterFailure = Duration.seconds(1)
    /// Without an active transfer and without a deadline, only `stop` ends a wait.
    private static let maxWait = Duration.seconds(3600)

    private let headers: [String: String]
    private let userAgent: String
    private let proxies: ProxyRules
    /// Which addresses may be requested, by the responses so far.
    package private(set) var policy: AddressPolicy
    private let cookies: CookieShare
    private var multi: MultiHandle
    private let makeMulti: () throws(FetchError) -> MultiHandle
    /// Handles for the next requests: at most as many as were active at the same time.
    private var idle: [EasyHandle] = []
    private var active: [Transfer] = []
    /// Requests that could not be started.
    private var failedAtStart: [Ended] = []
    private var latestID = 0

    /// `headers` are sent with every request, wherever it is redirected to.
    package convenience init(
        headers: [String: String],
        userAgent: String,
        policy: AddressPolicy = AddressPolicy(),
        proxies: ProxyRules = .ofEnvironment()
    ) throws(FetchError) {
        try self.init(
            headers: headers,
            userAgent: userAgent,
            policy: policy,
            proxies: proxies,
            makeMulti: MultiHandle.init
        )
    }

    /// As above, with other handles, for tests.
    init(
        headers: [String: String],
        userAgent: String,
        policy: AddressPolicy = AddressPolicy(),
        proxies: ProxyRules = .ofEnvironment(),
        makeMulti: @escaping () throws(FetchError) -> MultiHandle
    ) throws(FetchError) {
        (self.headers, self.userAgent) = (headers, userAgent)
        (self.policy, self.proxies) = (policy, proxies)
        cookies = try CookieShare()
        self.makeMulti = makeMulti
        multi = try makeMulti()
    }

    deinit {
        for transfer in active { multi.remove(transfer.easy) }
    }

    /// Starts a request; `wait` returns its result with the number that this returns.
    ///
    /// A body without `room` of its own is bounded by its limit alone.
    package func start(
        _ request: FetchRequest,
        as role: AddressPolicy.Role = .media,
        in room: MemoryReservation? = nil
    ) -> Int {
        latestID += 1
        do throws(FetchError) {
            let easy = try takeHandle()
            let transfer = Transfer(
                id: latestID,
                request,
                in: room,
                over: easy,
                as: role,
                policy,
                proxies
            )
            try begin(transfer)
            active.append(transfer)
        } catch {
            failedAtStart.append(Ended(id: latestID, result: .failure(error)))
        }
        return latestID
    }

    /// Ends all active transfers.
    func cancelAll() {
        for transfer in active { multi.remove(transfer.easy) }
        idle += active.map(\.easy)
        (active, failedAtStart) = ([], [])
    }

    /// Waits until requests have ended, `deadline` if there is one, or `stop`; returns at once what has ended already.
    package func wait(until deadline: BootTime?, or stop: StopSignal) -> [Ended] {
        while true {
            var ended = failedAtStart
            failedAtStart = []
            ended += perform()
            let now = BootTime.now()
            ended += endOverdue(at: now)
            let isDue = deadline.map { now >= $0 } ?? false
            if !ended.isEmpty || stop.isRequested || isDue { return ended }
            let next = (active.map(\.end) + [deadline].compactMap(\.self)).min()
            do throws(FetchError) {
                let time = next?.since(now) ?? Self.maxWait
                try multi.wait(for: time, or: stop.readableDescriptor)
            } catch {
                ended = failAll(error)
                if !ended.isEmpty { return ended }
                // Nothing is active that could end the wait: libcurl is tried again after a pause, not at once.
                let pause = now.advanced(by: Self.pauseAfterFailure)
                _ = stop.wait(until: min(pause, deadline ?? pause))
            }
        }
    }
}

extension Transfers {
    private func takeHandle() throws(FetchError) -> EasyHandle {
        if let easy = idle.popLast() { return easy }
        return try EasyHandle(headers: headers, userAgent: userAgent, cookies: cookies)
    }

    private func begin(_ transfer: Transfer) throws(FetchError) {
        try transfer.begin()
        try multi.add(transfer.easy)
    }

    private func end(of identity: UInt, _ code: CURLcode) -> [Ended] {
        let index = active.firstIndex { $0.easy.identity == identity }
        return index.map { end(at: $0, code) } ?? []
    }

    private func endOverdue(at now: BootTime) -> [Ended] {
        var ended: [Ended] = []
        for index in active.indices.reversed() {
            active[index].settle(at: now)
            if now >= active[index].end { ended += end(at: index, CURLE_OPERATION_TIMEDOUT) }
        }
        return ended
    }

    /// Finishes a transfer, or sends it on where it was redirected.
    private func end(at index: Int, _ code: CURLcode) -> [Ended] {
        var transfer = active.remove(at: index)
        // Closes the connection, unless the response is complete.
        multi.remove(transfer.easy)
        transfer.easy.limitCookies()
        let result = Result { () throws(FetchError) -> FetchedBody? in
            defer {
                if let places = transfer.places { policy.answered(transfer.role, from: places) }
            }
            if let body = try transfer.finish(code) { return body }
            try begin(transfer)
            return nil
        }
        switch result {
        case .success(nil): active.append(transfer)
        case .success(let body?): return [retire(transfer, .success(body))]
        case .failure(let error): return [retire(transfer, .failure(error))]
        }
        return []
    }

    private func retire(
        _ transfer: Transfer,
        _ result: Result<FetchedBody, FetchError>
    ) -> Ended {
        transfer.easy.reset()
        idle.append(transfer.easy)
        return Ended(id: transfer.id, result: result)
    }

    /// Continues all transfers without waiting; returns those that have ended.
    private func perform() -> [Ended] {
        do throws(FetchError) {
            var ended: [Ended] = []
            for (identity, code) in try multi.perform() { ended += end(of: identity, code) }
            return ended
        } catch {
            return failAll(error)
        }
    }

    /// Ends all active transfers, and replaces the multi handle, which cannot be used any more once it has failed.
    private func failAll(_ error: FetchError) -> [Ended] {
        let failed =
            failedAtStart + active.map { Ended(id: $0.id, result: .failure(error)) }
        cancelAll()
        if let fresh = try? makeMulti() { multi = fresh }
        return failed
    }
}

/// One request, through all its redirects.
private struct Transfer {
    /// How long the body of an error may take before the connection is closed instead.
    private static let discardTimeout = Duration.milliseconds(500)

    let id: Int
    let easy: EasyHandle
    private let request: FetchRequest
    private let room: MemoryReservation?
    private let deadline: BootTime
    private var redirection: Redirection
    let role: AddressPolicy.Role
    private let proxies: ProxyRules
    private let exceptions: AddressExceptions
    /// Whether a compressed body is expanded; not once `Content-Encoding` has turned out to be wrong.
    private var isExpanded = true
    /// The server that must be allowed to name the next address.
    private var namer: ServerPlace?
    /// The servers of the responses so far.
    private(set) var places: AnsweringPlaces?
    /// When the transfer ends with a timeout; earlier once the head is all that matters.
    private(set) var end: BootTime

    init(
        id: Int,
        _ request: FetchRequest,
        in room: MemoryReservation?,
        over easy: EasyHandle,
        as role: AddressPolicy.Role,
        _ policy: AddressPolicy,
        _ proxies: ProxyRules
    ) {
        (self.id, self.request, self.room, self.easy) = (id, request, room, easy)
        (self.role, self.proxies, exceptions) = (role, proxies, policy.exceptions)
        namer = policy.namer(for: role)
        deadline = BootTime.now().advanced(by: request.limits.timeout)
        redirection = Redirection(from: request.url, atMost: request.limits.redirects)
        end = deadline
    }

    /// Prepares the handle for the next address.
    func begin() throws(FetchError) {
        let collector = ResponseCollector(
            limit: request.limits.bytes,
            range: request.range,
            in: room
        )
        let timeout = deadline.since(.now())
        try easy.prepare(
            redirection.url,
            request,
            timeout: timeout,
            isExpanded: isExpanded,
            into: collector
        )
        let proxy = proxies.proxy(for: redirection.url)
        let host = redirection.url.host() ?? ""
        let check = ConnectionCheck(
            of: host,
            namedBy: namer,
            exceptions,
            isProxied: proxy != nil
        )
        try easy.connect(through: proxy, check)
    }

    /// Shortens the time if the body does not matter any more.
    mutating func settle(at now: BootTime) {
        guard end == deadline, easy.collector.isSettled else { return }
        end = min(deadline, now.advanced(by: Self.discardTimeout))
    }

    /// The body of the response; `nil` if it is a redirect, or a body that is not compressed as its head says: `begin` then
    /// asks for the next address, or for the bytes as they are.
    ///
    /// The status counts before libcurl's result: of an error page it does not matter whether it is complete.
    mutating func finish(_ result: CURLcode) throws(FetchError) -> FetchedBody? {
        let collector = easy.collector
        let connection = easy.connection
        if collector.status == nil, result != CURLE_OK, let refusal = connection.refusal {
            throw .refusedAddress(refusal)
        }
        if collector.status != nil, let server = connection.place {
            if places?.add(server) == nil { places = AnsweringPlaces(server) }
            namer = server.narrowed(to: namer)
        }
        if let refusal = collector.refusal { throw refusal }
        if collector.isSettled, let status = collector.status {
            guard Redirection.applies(to: status), let location = easy.location else {
                // Of another status, `Retry-After` would only delay the search for another address.
                let mayWait = status == 429 || status == 503
                throw .http(status: status, retryAfter: mayWait ? easy.retryAfter : nil)
            }
            try follow(location)
            return nil
        }
        if !collector.isComplete {
            if isExpanded, hasWrongEncoding(collector, result) {
                isExpanded = false
                end = deadline
                return nil
            }
            guard result == CURLE_OK else { throw failure(collector, result) }
        }
        try checkRange(collector)
        return FetchedBody(bytes: collector.body, url: redirection.url)
    }

    /// Whether libcurl could not expand the body; the collector has refused nothing.
    ///
    /// Its Brotli decoder reports no error for a body that ends too early: then less arrives than was sent. What is really
    /// compressed is longer than its content by a header at most, such as a key of 16 bytes.
    private func hasWrongEncoding(_ collector: ResponseCollector, _ result: CURLcode) -> Bool {
        switch result {
        case CURLE_BAD_CONTENT_ENCODING, CURLE_WRITE_ERROR: true
        case CURLE_OK:
            request.range == nil && collector.body.count * 2 + 64 < easy.announcedBytes ?? 0
        default: false
        }
    }

    private mutating func follow(_ location: String) throws(FetchError) {
        end = deadline
        do throws(RedirectError) {
            try redirection.follow(location)
        } catch {
            throw .refusedRedirect(error)
        }
    }

    private func checkRange(_ collector: ResponseCollector) throws(FetchError) {
        guard let range = request.range else { return }
        if collector.status == 206, easy.firstOfContentRange != range.offset {
            throw .network("the response is not the requested range")
        }
        guard collector.body.count == range.count else {
            throw .truncated(received: collector.body.count, announced: range.count)
        }
    }

    private func failure(_ collector: ResponseCollector, _ result: CURLcode) -> FetchError {
        if result == CURLE_OPERATION_TIMEDOUT { return .timedOut }
        let received = collector.body.count
        if collector.status != nil, let announced = easy.announcedBytes, received < announced {
            return .truncated(received: received, announced: announced)
        }
        return .network(easy.text(of: result))
    }
}

/// A resource to fetch, and the limits for that.
package struct FetchRequest: Hashable, Sendable {
    package var url: URL
    /// `nil` for the complete resource.
    package var range: ByteRange?
    package var limits: FetchLimits

    package init(url: URL, range: ByteRange? = nil, limits: FetchLimits) {
        (self.url, self.range, self.limits) = (url, range, limits)
    }
}

/// The bounds of one request.
package struct FetchLimits: Hashable, Sendable {
    /// Bytes of the body.
    package var bytes: Int
    /// From the request to the last byte, redirects included.
    package var timeout: Duration
    /// How long less than 1000 bytes a second may come; whole seconds.
    var stall: Duration
    var redirects: Int

    package init(
        bytes: Int,
        timeout: Duration,
        stall: Duration = .seconds(10),
        redirects: Int = 10
    ) {
        (self.bytes, self.timeout) = (bytes, timeout)
        (self.stall, self.redirects) = (stall, redirects)
    }
}

/// Why a body could not be fetched; texts contain no query of an address.
package enum FetchError: Error, Equatable, CustomStringConvertible {
    case network(String)
    case timedOut
    /// A status other than 200, or 206 to a range; of 429 and 503, how long the server asks to wait.
    case http(status: Int, retryAfter: Duration? = nil)
    /// Fewer or more bytes arrived than were announced.
    case truncated(received: Int, announced: Int)
    case tooLarge(limit: Int)
    case refusedRedirect(RedirectError)
    /// The server has no address that may be requested.
    case refusedAddress(AddressRefusal)
    /// The memory of all streams is full, and the segment is not the next in order.
    case noRoom
    case cancelled

    package var description: String {
        switch self {
        case .network(let text): text
        case .timedOut: "timed out"
        case .http(let status, _): "HTTP status \(status)"
        case .truncated(let received, let announced): "\(received) of \(announced) bytes received"
        case .tooLarge(let limit): "larger than \(limit) bytes"
        case .refusedRedirect(.tooMany): "too many redirects"
        case .refusedRedirect(.address(let error)): "redirect: \(error)"
        case .refusedAddress(let refusal): "refused: \(refusal)"
        case .noRoom: "no room in the memory for segments"
        case .cancelled: "cancelled"
        }
    }

    /// Whether the resource is gone, not only unreachable.
    package var isGone: Bool { status == 404 || status == 410 }

    /// The status of the response, if that is the reason.
    package var status: Int? {
        if case .http(let status, _) = self { status } else { nil }
    }

    /// When to ask again after a `pause`: later if the server wishes, within limits.
    package func retryTime(after pause: Duration, from now: BootTime) -> BootTime {
        guard case .http(_, let wish?) = self else { return now.advanced(by: pause) }
        return now.advanced(by: max(pause, min(wish, Self.maxRetryAfter)))
    }

    /// Nobody waits longer than this because a server asks for it: what it serves may be gone by then.
    private static let maxRetryAfter = Duration.seconds(30)
}

package enum RedirectError: Error, Equatable {
    case tooMany
    case address(URLPolicyError)
}

/// Which requests go through a proxy, by the usual environment variables.
///
/// Decided here and not by libcurl, because addresses are checked only where the recorder connects to them itself.
package struct ProxyRules: Sendable {
    private var proxies: [String: String] = [:]
    private var exceptions: [String] = []

    /// `variable` gives the value of an environment variable.
    init(_ variable: (String) -> String?) {
        let all = variable("all_proxy") ?? variable("ALL_PROXY")
        // A CGI sets `HTTP_PROXY` to a header field of its client (httpoxy), so that it is ignored everywhere.
        proxies["http"] = variable("http_proxy") ?? all
        proxies["https"] = variable("https_proxy") ?? variable("HTTPS_PROXY") ?? all
        let list = variable("no_proxy") ?? variable("NO_PROXY") ?? ""
        exceptions = list.split { $0 == "," || $0.isWhitespace }.map { $0.lowercased() }
    }

    static func ofEnvironment() -> ProxyRules {
        ProxyRules { name in
            guard let value = unsafe getenv(name), unsafe value.pointee != 0 else { return nil }
            return unsafe String(cString: value)
        }
    }

    /// The proxy for `url`; `nil` for a direct connection.
    package func proxy(for url: URL) -> String? {
        guard let proxy = proxies[url.scheme?.lowercased() ?? ""], !proxy.isEmpty else {
            return nil
        }
        let host = trimmed(url.host() ?? "")
        return exceptions.contains { excepts(host, $0) } ? nil : proxy
    }

    private func excepts(_ host: String, _ entry: String) -> Bool {
        if entry == "*" { return true }
        if let address = IPAddress(host) {
            return AddressNetwork(entry.filter { $0 != "[" && $0 != "]" })?.contains(address)
                ?? false
        }
        let name = trimmed(entry.hasPrefix(".") ? String(entry.dropFirst()) : entry)
        return !name.isEmpty && (host == name || host.hasSuffix(".\(name)"))
    }

    /// A name with a dot at its end is the same name.
    private func trimmed(_ host: String) -> String {
        let host = host.lowercased()
        return host.hasSuffix(".") ? String(host.dropLast()) : host
    }
}
