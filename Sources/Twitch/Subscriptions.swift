package import Fetch
import FoundationEssentials
import JSON
package import Posix

/// Makes the recorder's subscriptions at Twitch, and finds the broadcasters that are live at the start.
///
/// The subscriptions remain when the recorder stops: Twitch repeats deliveries for a while, and the next start finds
/// the subscriptions in place. Making one that exists changes nothing.
package struct Subscriptions: Sendable {
    /// What one pass found.
    package struct Pass: Sendable {
        /// Whether all subscriptions are in place.
        package var isComplete = false
        /// Broadcasters whose streams are live; only of the first pass that gets so far.
        package var live: [TwitchBroadcaster] = []

        /// The pause before the next pass.
        package var pause: Duration { .seconds(isComplete ? 3600 : 300) }
    }

    private static let types = ["stream.online", "stream.offline"]

    private var helix: HelixClient
    private let broadcasters: [TwitchBroadcaster]
    private let callback: URL
    private let secret: Secret
    private let log: Log
    private let limiter = LogLimiter()
    /// Live broadcasters are returned once: later, someone may have stopped a live stream on purpose.
    private var hasFoundLive = false

    package init(
        _ broadcasters: [TwitchBroadcaster],
        _ application: TwitchSettings.Application,
        clientSecret: Secret,
        secret: Secret,
        userAgent: String,
        _ log: Log
    ) {
        self.broadcasters = broadcasters
        helix = HelixClient(application, clientSecret: clientSecret, userAgent: userAgent, log)
        callback = application.callback
        (self.secret, self.log) = (secret, log)
    }

    /// Finds ids, subscribes, and finds live broadcasters; an error is logged and ends the pass.
    package mutating func pass(until stop: StopSignal) -> Pass {
        var pass = Pass()
        do throws(HelixError) {
            let byID = try identify(until: stop)
            let isComplete = try subscribe(to: byID.keys.sorted(), until: stop)
            if !hasFoundLive { pass.live = try findLive(byID, until: stop) }
            hasFoundLive = true
            pass.isComplete = isComplete
        } catch {
            if error != .cancelled {
                log(
                    .error,
                    "Twitch refused",
                    ["error": "\(error)"],
                    limitedBy: limiter,
                    condition: "\(error)"
                )
            }
        }
        return pass
    }

    /// The broadcasters by their ids.
    private mutating func identify(
        until stop: StopSignal
    ) throws(HelixError) -> [String: Set<TwitchBroadcaster>] {
        var byID: [String: Set<TwitchBroadcaster>] = [:]
        var byLogin: [String: TwitchBroadcaster] = [:]
        for broadcaster in broadcasters {
            if let id = broadcaster.id {
                byID[id, default: []].insert(broadcaster)
            } else if let login = broadcaster.login {
                byLogin[login] = broadcaster
            }
        }
        for logins in byLogin.keys.sorted().chunks(of: HelixClient.maxIDs) {
            let answer = try helix.call(.users(logins: logins), until: stop)
            let users = try answer.list { user -> (id: String, login: String)? in
                guard let id = user["id"]?.string, let login = user["login"]?.string else {
                    return nil
                }
                return (id, login)
            }
            for user in users {
                if let broadcaster = byLogin.removeValue(forKey: user.login.lowercased()) {
                    byID[user.id, default: []].insert(broadcaster)
                }
            }
        }
        for login in byLogin.keys.sorted() {
            log(
                .error,
                "Twitch knows no such login",
                ["login": login],
                limitedBy: limiter,
                condition: login
            )
        }
        return byID
    }

    /// Whether all subscriptions are in place now.
    private mutating func subscribe(
        to ids: [String],
        until stop: StopSignal
    ) throws(HelixError) -> Bool {
        var failures = 0
        for id in ids {
            for type in Self.types where try !subscribe(to: type, of: id, until: stop) {
                failures += 1
            }
        }
        let count = ids.count * Self.types.count
        log(.info, "Subscriptions at Twitch", ["wanted": "\(count)", "refused": "\(failures)"])
        return failures == 0
    }

    /// A refusal, such as for a banned broadcaster, does not end the pass.
    private mutating func subscribe(
        to type: String,
        of id: String,
        until stop: StopSignal
    ) throws(HelixError) -> Bool {
        let call = HelixCall.subscribe(
            type: type,
            broadcasterID: id,
            callback: callback,
            secret: secret
        )
        do throws(HelixError) {
            _ = try helix.call(call, until: stop)
            return true
        } catch {
            if error == .cancelled { throw error }
            log(
                .error,
                "Subscription refused",
                ["type": type, "broadcaster_id": id, "error": "\(error)"],
                limitedBy: limiter,
                condition: "\(type) \(id) \(error)"
            )
            return false
        }
    }

    /// Twitch reports changes only: a broadcast that began before the subscription has no delivery.
    private mutating func findLive(
        _ byID: [String: Set<TwitchBroadcaster>],
        until stop: StopSignal
    ) throws(HelixError) -> [TwitchBroadcaster] {
        var live: [TwitchBroadcaster] = []
        for ids in byID.keys.sorted().chunks(of: HelixClient.maxIDs) {
            let answer = try helix.call(.streams(broadcasterIDs: ids), until: stop)
            for id in try answer.list({ $0["user_id"]?.string }) { live += byID[id] ?? [] }
        }
        return live
    }
}

extension Array {
    fileprivate func chunks(of size: Int) -> [[Element]] {
        stride(from: 0, to: count, by: size).map { Array(self[$0..<Swift.min($0 + size, count)]) }
    }
}
