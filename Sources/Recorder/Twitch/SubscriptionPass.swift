import JSON
import Posix

/// The way through all that is to be asked of Twitch, taken again and again.
struct SubscriptionPass {
    var helix: HelixClient
    let subscriber: TwitchSubscriber
    let stop: StopSignal
    /// Only once: later somebody may have stopped a stream that is live on purpose.
    private var hasStartedLive = false

    init(helix: HelixClient, subscriber: TwitchSubscriber, stop: StopSignal) {
        (self.helix, self.subscriber, self.stop) = (helix, subscriber, stop)
    }

    private static let types = ["stream.online", "stream.offline"]

    /// Whether Twitch did all of it.
    mutating func run() -> Bool {
        do throws(HelixError) {
            let workers = try identify()
            let isComplete = try subscribe(to: Set(workers.keys).sorted())
            if !hasStartedLive { try startLive(workers) }
            hasStartedLive = true
            return isComplete
        } catch {
            if error != .cancelled {
                subscriber.log(
                    .error,
                    "Twitch refused",
                    ["error": "\(error)"],
                    limitedBy: subscriber.limiter,
                    condition: "\(error)"
                )
            }
            return false
        }
    }

    /// The streams that Twitch switches, by the broadcaster's id.
    private mutating func identify() throws(HelixError) -> [String: [StreamWorker]] {
        var workers = self.workers { $0.id }
        var byLogin = self.workers { $0.id == nil ? $0.login : nil }
        for logins in byLogin.keys.sorted().chunks(of: HelixClient.mostInQuery) {
            let answer = try helix.call(.users(logins: logins), until: stop)
            let users = try answer.list { user -> (id: String, login: String)? in
                guard let id = user["id"]?.string, let login = user["login"]?.string else {
                    return nil
                }
                return (id, login)
            }
            for user in users {
                guard let known = byLogin.removeValue(forKey: user.login.lowercased()) else {
                    continue
                }
                workers[user.id, default: []] += known
            }
        }
        for login in byLogin.keys.sorted() {
            subscriber.log(
                .error,
                "Twitch knows no such login",
                ["login": login],
                limitedBy: subscriber.limiter,
                condition: login
            )
        }
        return workers
    }

    private func workers(by key: (TwitchBroadcaster) -> String?) -> [String: [StreamWorker]] {
        var workers: [String: [StreamWorker]] = [:]
        for worker in subscriber.roster.workers {
            guard let key = worker.stream.broadcaster.flatMap(key) else { continue }
            workers[key, default: []].append(worker)
        }
        return workers
    }

    /// Whether all subscriptions are there now.
    private mutating func subscribe(to ids: [String]) throws(HelixError) -> Bool {
        var failures = 0
        for id in ids {
            for type in Self.types where try !subscribe(to: type, of: id) {
                failures += 1
            }
        }
        let count = ids.count * Self.types.count
        subscriber.log(
            .info,
            "Subscriptions at Twitch",
            ["wanted": "\(count)", "refused": "\(failures)"]
        )
        return failures == 0
    }

    /// One that is refused, such as of a banned broadcaster, does not cost the others.
    private mutating func subscribe(to type: String, of id: String) throws(HelixError) -> Bool {
        let call = HelixCall.subscribe(
            type: type,
            broadcasterID: id,
            callback: subscriber.callback,
            secret: subscriber.secret
        )
        do throws(HelixError) {
            _ = try helix.call(call, until: stop)
            return true
        } catch {
            if error == .cancelled { throw error }
            subscriber.log(
                .error,
                "Subscription refused",
                ["type": type, "broadcaster_id": id, "error": "\(error)"],
                limitedBy: subscriber.limiter,
                condition: "\(type) \(id) \(error)"
            )
            return false
        }
    }

    /// Twitch tells of changes only: what began while the recorder was away would never be recorded.
    private mutating func startLive(
        _ workers: [String: [StreamWorker]]
    ) throws(HelixError) {
        for ids in workers.keys.sorted().chunks(of: HelixClient.mostInQuery) {
            let answer = try helix.call(.streams(broadcasterIDs: ids), until: stop)
            for id in try answer.list({ $0["user_id"]?.string }) {
                for worker in workers[id] ?? [] {
                    let name = worker.stream.name
                    subscriber.log(.info, "Stream is live already", ["stream": name])
                    _ = subscriber.roster.start(worker, insists: true)
                }
            }
        }
    }
}

extension Array {
    fileprivate func chunks(of size: Int) -> [[Element]] {
        stride(from: 0, to: count, by: size).map { Array(self[$0..<Swift.min($0 + size, count)]) }
    }
}
