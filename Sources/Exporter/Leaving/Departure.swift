/// Why the exporter leaves, and who has the last word.
struct Departure: Equatable {
    /// In words, for the log.
    enum Reason: String {
        case collected = "last word collected"
        case notCollected = "last word not collected by all"
        case gracePeriodOver = "grace period over"
        case recorderOverdue = "recorder does not end"
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
