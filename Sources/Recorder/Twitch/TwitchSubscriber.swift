import Fetch
import FoundationEssentials
import Posix

/// Makes the recorder's subscriptions at Twitch, and starts what is live already; on a thread of its own.
///
/// The subscriptions are left when the recorder stops: while it is away Twitch delivers again and again for a while,
/// and the next start finds them. Once an hour they are made again, which changes nothing where they exist.
struct TwitchSubscriber: Sendable {
    let helix: HelixClient
    let callback: URL
    let secret: Secret
    let roster: Roster
    let log: Log
    let limiter = LogLimiter()

    func run(until stop: StopSignal) {
        var pass = SubscriptionPass(helix: helix, subscriber: self, stop: stop)
        while !stop.isRequested {
            let pause = Duration.seconds(pass.run() ? 3600 : 300)
            if stop.wait(until: BootTime.now().advanced(by: pause)) { return }
        }
    }
}
