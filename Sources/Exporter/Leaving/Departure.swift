/// Why the exporter exits, and which scrapers have the final state of each recorder.
struct Departure: Equatable {
    /// In words, for the log.
    enum Reason: String {
        case collected = "final state collected"
        case notCollected = "final state not collected by all"
        case gracePeriodOver = "grace period over"
        case recorderOverdue = "recorder does not end"
        case recorderHangs = "recorder hangs, which was collected"
        case recorderRunsOn = "recorder runs on"
        case noRecorder = "no recorder"
        case nobodyScrapes = "nobody scrapes"
        case lingerOff = "told not to linger"
        case secondSignal = "second signal"
    }

    let reason: Reason
    /// Since the first signal.
    let waited: Duration
    let collected: [ScraperKind]
    let missed: [ScraperKind]

    /// Whether there is time to finish what is under way.
    var isPatient: Bool { reason != .secondSignal }
}
