import Posix

/// How long the exporter may stay when it is told to leave.
struct LingerPolicy {
    /// For the last word to be collected; `nil` waits two scrape intervals and five seconds, zero not at all.
    var most: Duration?
    /// What the orchestrator grants until SIGKILL; `nil` when it is not known.
    var gracePeriod: Duration?

    /// Between leaving and SIGKILL.
    static let margin = Duration.seconds(1)

    /// How long to wait for a recorder after its deadline.
    static let overrun = Duration.seconds(35)

    /// How far in the future a recorder's deadline can be.
    static let maxDeadline = Duration.seconds(86_400)

    /// How long to wait for a scraper that comes at this interval.
    func patience(_ interval: Duration?) -> Duration {
        most ?? (interval ?? ScrapePace.assumed) * 2 + .seconds(5)
    }
}
