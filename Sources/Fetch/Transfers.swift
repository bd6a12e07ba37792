import CCurl
import FoundationEssentials
package import Posix

/// HTTP GETs over libcurl, several at once, all of them driven by the thread that waits for them.
///
/// They share connections and cookies. Redirects are followed here and not by libcurl, since `URLPolicy` has the
/// rules for them.
package final class Transfers {
    /// What became of a request.
    package struct Ended {
        package let id: Int
        package let result: Result<FetchedBody, FetchError>
    }

    /// Before libcurl is tried again when it fails with nothing under way.
    private static let pauseAfterFailure = Duration.seconds(1)
    /// With nothing under way and nothing due, only `stop` ends a wait.
    private static let maxWait = Duration.seconds(3600)

    private let headers: [String: String]
    private let userAgent: String
    private let proxies: ProxyRules
    /// Which addresses may be asked, by what has been answered so far.
    package private(set) var policy: AddressPolicy
    private let cookies: CookieShare
    private var multi: MultiHandle
    private let makeMulti: () throws(FetchError) -> MultiHandle
    /// Handles that wait for their next request.
    private var idle: [EasyHandle] = []
    private var underWay: [Transfer] = []
    /// Requests that could not be started.
    private var notStarted: [Ended] = []
    private var latestID = 0

    /// `headers` go with every request, wherever it is redirected to.
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
        for transfer in underWay { multi.remove(transfer.easy) }
    }

    /// Starts a request; `wait` tells what became of it, under the number that this gives it.
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
            underWay.append(transfer)
        } catch {
            notStarted.append(Ended(id: latestID, result: .failure(error)))
        }
        return latestID
    }

    /// Ends all that is under way.
    func cancelAll() {
        for transfer in underWay { multi.remove(transfer.easy) }
        idle += underWay.map(\.easy)
        (underWay, notStarted) = ([], [])
    }

    /// Waits until requests have ended, `deadline` if there is one, or `stop`; never for what has ended already.
    package func wait(until deadline: BootTime?, or stop: StopSignal) -> [Ended] {
        while true {
            var ended = notStarted
            notStarted = []
            ended += perform()
            let now = BootTime.now()
            ended += endOverdue(at: now)
            let isDue = deadline.map { now >= $0 } ?? false
            if !ended.isEmpty || stop.isRequested || isDue { return ended }
            let next = (underWay.map(\.end) + [deadline].compactMap(\.self)).min()
            do throws(FetchError) {
                let time = next?.since(now) ?? Self.maxWait
                try multi.wait(for: time, or: stop.readableDescriptor)
            } catch {
                ended = failAll(error)
                if !ended.isEmpty { return ended }
                // Nothing ends, and nothing wakes: libcurl is tried again after a pause, not at once.
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
        let index = underWay.firstIndex { $0.easy.identity == identity }
        return index.map { end(at: $0, code) } ?? []
    }

    private func endOverdue(at now: BootTime) -> [Ended] {
        var ended: [Ended] = []
        for index in underWay.indices.reversed() {
            underWay[index].settle(at: now)
            if now >= underWay[index].end { ended += end(at: index, CURLE_OPERATION_TIMEDOUT) }
        }
        return ended
    }

    /// Takes the answer of a transfer; one that was redirected goes on.
    private func end(at index: Int, _ code: CURLcode) -> [Ended] {
        var transfer = underWay.remove(at: index)
        // Closes the connection, unless the answer has come to its end.
        multi.remove(transfer.easy)
        transfer.easy.boundCookies()
        let result = Result { () throws(FetchError) -> FetchedBody? in
            defer {
                if let places = transfer.places { policy.answered(transfer.role, from: places) }
            }
            if let body = try transfer.take(code) { return body }
            try begin(transfer)
            return nil
        }
        switch result {
        case .success(nil): underWay.append(transfer)
        case .success(let body?): return [retire(transfer, .success(body))]
        case .failure(let error): return [retire(transfer, .failure(error))]
        }
        return []
    }

    private func retire(
        _ transfer: Transfer,
        _ result: Result<FetchedBody, FetchError>
    ) -> Ended {
        transfer.easy.forget()
        idle.append(transfer.easy)
        return Ended(id: transfer.id, result: result)
    }

    /// Does what can be done without waiting; what has ended by that.
    private func perform() -> [Ended] {
        do throws(FetchError) {
            var ended: [Ended] = []
            for (identity, code) in try multi.perform() { ended += end(of: identity, code) }
            return ended
        } catch {
            return failAll(error)
        }
    }

    /// Ends all that is under way, and gives up the multi handle, which nothing repairs once it has failed.
    private func failAll(_ error: FetchError) -> [Ended] {
        let failed =
            notStarted + underWay.map { Ended(id: $0.id, result: .failure(error)) }
        cancelAll()
        if let fresh = try? makeMulti() { multi = fresh }
        return failed
    }
}
