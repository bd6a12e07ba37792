import Posix
import StreamVaultTelemetry

/// How long the exporter may stay after a signal to stop.
struct LingerPolicy {
    /// For the final state to be collected; `nil` waits two scrape intervals and five seconds, zero not at all.
    var max: Duration?
    /// The orchestrator's time until SIGKILL; `nil` when it is not known.
    var gracePeriod: Duration?

    /// Between the exit and SIGKILL.
    static let margin = Duration.seconds(1)

    /// How long a recorder may take after its own deadline.
    static let stopAllowance = Duration.seconds(35)

    /// How far in the future the deadline of a recorder can be; a segment may contain any.
    static let maxDeadline = Duration.seconds(86_400)

    /// How long to wait for a scraper with this interval.
    func timeout(interval: Duration?) -> Duration {
        max ?? (interval ?? ScrapeInterval.assumed) * 2 + .seconds(5)
    }
}

/// Why the exporter exits, and which scrapers have collected the final state of each recorder.
struct ExitDecision: Equatable {
    let reason: ExitReason
    /// Since the first signal.
    let waited: Duration
    let collected: [ScraperIdentity]
    let missed: [ScraperIdentity]

    /// Whether there is time to finish responses that are being sent.
    var waitsForResponses: Bool { reason != .secondSignal }
}

/// The reason of an exit, as the log shows it.
enum ExitReason: String {
    case collected = "final state collected"
    case notCollected = "final state not collected by all scrapers"
    case gracePeriodOver = "grace period over"
    case recorderOverdue = "recorder did not stop in time"
    case recorderHangs = "recorder hangs, and this state was collected"
    case recorderRunsOn = "recorder continues to run"
    case noRecorder = "no recorder"
    case noScraper = "no scraper"
    case lingerOff = "lingering disabled"
    case secondSignal = "second signal"
}

/// Decides when the exporter may exit after a signal: not before the final state of every recorder has been collected.
///
/// All inputs, the time among them, are arguments. The signal only begins the wait: in a pod of plain containers it
/// arrives together with the recorder's, for a native sidecar after the recorder has ended.
struct LingerState {
    /// What the exporter waits for after a signal.
    enum WaitingFor: Equatable { case nothing, recorders, scrapers }

    enum Decision: Equatable {
        /// Until an event, or until then.
        case stay(until: BootTime?)
        case exit(ExitDecision)
    }

    /// Interval between two reads of the directory while the exporter waits.
    static let checkInterval = Duration.milliseconds(250)
    /// A recorder that has not begun to stop by then continues to run.
    static let recorderTimeout = Duration.seconds(5)
    /// An exporter without a scraper for that long is not scraped at all.
    static let firstScrapeTimeout = Duration.seconds(120)

    /// As of the last decision.
    private(set) var waitingFor = WaitingFor.nothing
    /// The end of that wait, unless something happens before.
    private var waitingUntil = BootTime(nanoseconds: 0)
    private let policy: LingerPolicy
    private let startedAt: BootTime
    private var scrapers = Scrapers()
    private var recorders: [ExitProgress] = []
    private var finalStates = FinalStates()
    private var terminationMark: BootTime?
    private var firstSignal: BootTime?
    private var hasSecondSignal = false

    init(_ policy: LingerPolicy, startedAt: BootTime) {
        (self.policy, self.startedAt) = (policy, startedAt)
    }

    /// Whether a signal has arrived: from then on the directory must be read before each decision.
    var hasBegun: Bool { firstSignal != nil }

    /// Scrapers seen in the last five minutes.
    func scraperCount(at now: BootTime) -> Int { scrapers.count(at: now) }

    // MARK: Events

    /// Marks the beginning of the pod's termination, and of the grace period.
    ///
    /// The first mark counts. A mark as old as the grace period was a false alarm, and does not count any more.
    mutating func noteTermination(at now: BootTime) {
        guard let grace = policy.gracePeriod else { return }
        if let mark = terminationMark, now.since(mark) < grace { return }
        terminationMark = now
    }

    mutating func noteSignal(at now: BootTime) {
        hasSecondSignal = hasBegun
        firstSignal = firstSignal ?? now
    }

    /// Records the state of the recorders.
    mutating func update(_ recorders: [ExitProgress], at now: BootTime) {
        self.recorders = recorders
        finalStates.update(recorders, at: now)
    }

    /// Records a scrape of the present state.
    ///
    /// - Returns: the tag of the response whose acknowledgement must be reported; `nil` when it does not matter.
    mutating func noteScrape(
        by identity: ScraperIdentity,
        _ connection: UInt64,
        at now: BootTime
    ) -> ScrapeTag? {
        let scraper = scrapers.visit(by: identity, on: connection, at: now)
        guard scraper.collected < finalStates.number else { return nil }
        return ScrapeTag(scraper: scraper.number, finalState: finalStates.number)
    }

    /// Records that no further scrape can arrive on a connection.
    mutating func noteEnd(of connection: UInt64, at now: BootTime) {
        scrapers.noteEnd(of: connection, at: now)
    }

    /// Records that a client has acknowledged a scrape.
    ///
    /// - Returns: the scraper, if it has collected the final state with it.
    mutating func noteAcknowledged(_ tag: ScrapeTag) -> Scraper? {
        scrapers.noteCollected(tag.finalState, by: tag.scraper)
    }

    // MARK: Decision

    /// To be called after each turn.
    mutating func decide(at now: BootTime) -> Decision {
        guard let firstSignal else { return .stay(until: nil) }
        scrapers.mergeSuccessors(at: now)
        switch verdict(at: now, since: firstSignal) {
        case .wait(let waitingFor, let limit):
            (self.waitingFor, waitingUntil) = (waitingFor, limit)
            return .stay(until: now.advanced(by: Self.checkInterval))
        case .exit(let reason):
            waitingFor = .nothing
            let known = finalStates.isEmpty ? [] : scrapers.regular(at: now)
            return .exit(
                ExitDecision(
                    reason: reason,
                    waited: now.since(firstSignal),
                    collected: known.filter(hasFinalState).map(\.identity),
                    missed: known.filter { !hasFinalState($0) }.map(\.identity)
                )
            )
        }
    }

    private enum Verdict {
        case wait(WaitingFor, until: BootTime)
        case exit(ExitReason)
    }

    private func verdict(at now: BootTime, since firstSignal: BootTime) -> Verdict {
        if hasSecondSignal { return .exit(.secondSignal) }
        if policy.max == .zero { return .exit(.lingerOff) }
        if let end = endOfGrace(firstSignal), now >= end { return .exit(.gracePeriodOver) }
        let isScraped = !scrapers.regular(at: now).isEmpty
        if now.since(startedAt) >= Self.firstScrapeTimeout, !isScraped { return .exit(.noScraper) }
        if let end = endOfStopping(firstSignal) {
            return now < end ? .wait(.recorders, until: end) : .exit(.recorderOverdue)
        }
        if let end = endOfDoubt(at: now, since: firstSignal) {
            return .wait(.recorders, until: end)
        }
        guard !finalStates.isEmpty else {
            return .exit(recorders.contains(where: \.isRunning) ? .recorderRunsOn : .noRecorder)
        }
        return collection(at: now, since: max(firstSignal, finalStates.since))
    }

    /// The verdict once there is a final state, since `start`.
    private func collection(at now: BootTime, since start: BootTime) -> Verdict {
        let known = scrapers.regular(at: now)
        if known.isEmpty {  // The first scraper of a new exporter may not have arrived yet.
            let end = start.advanced(by: policy.timeout(interval: nil))
            return now < end ? .wait(.scrapers, until: end) : .exit(.noScraper)
        }
        let missing = known.filter { !hasFinalState($0) }
        if missing.isEmpty {
            return .exit(recorders.contains(where: \.isHung) ? .recorderHangs : .collected)
        }
        let ends = missing.filter { !$0.hasDisappeared(at: now) }
            .map { start.advanced(by: policy.timeout(interval: $0.interval.learned)) }
        guard let end = ends.max(), now < end else { return .exit(.notCollected) }
        return .wait(.scrapers, until: end)
    }

    /// The longest remaining wait, the number of known scrapers, and of those without the final state: for the log.
    func wait(at now: BootTime) -> (atMost: Duration, known: Int, missing: Int) {
        let known = scrapers.regular(at: now)
        let end = firstSignal.flatMap(endOfGrace)
        let limit = min(waitingUntil, end ?? waitingUntil)
        return (limit.since(now), known.count, known.count { !hasFinalState($0) })
    }

    private func hasFinalState(_ scraper: Scraper) -> Bool {
        scraper.collected == finalStates.number
    }

    /// When a recorder that has not begun to stop will no longer do so, or hang; `nil` when that is certain already.
    ///
    /// Only a heartbeat after the signal shows that its loop runs: a recorder without one will soon be found to hang.
    private func endOfDoubt(at now: BootTime, since firstSignal: BootTime) -> BootTime? {
        let ends = recorders.compactMap { recorder -> BootTime? in
            guard case .running(let heartbeat) = recorder else { return nil }
            let isSilent = heartbeat.map { $0 < firstSignal } ?? false
            let timeout = isSilent ? LingerPolicy.stopAllowance : Self.recorderTimeout
            return firstSignal.advanced(by: timeout)
        }
        return ends.filter { now < $0 }.max()
    }

    /// A little before SIGKILL; `nil` when that time is not known.
    private func endOfGrace(_ firstSignal: BootTime) -> BootTime? {
        guard let grace = policy.gracePeriod else { return nil }
        let mark = terminationMark.map { firstSignal.since($0) < grace ? $0 : firstSignal }
        let start = min(mark ?? firstSignal, firstSignal)
        return start.advanced(by: grace - LingerPolicy.margin)
    }

    /// When to stop waiting for recorders that are stopping; `nil` when there are none.
    ///
    /// The end of the grace period if it is known, otherwise some time after their own deadlines. A recorder that hangs may
    /// be ended by its watchdog until the grace period is over; without a known grace period, it is not waited for.
    private func endOfStopping(_ firstSignal: BootTime) -> BootTime? {
        if let end = endOfGrace(firstSignal), recorders.contains(where: \.isHung) { return end }
        var end: BootTime?
        for case .stopping(let deadline) in recorders {
            let limit = firstSignal.advanced(by: LingerPolicy.maxDeadline)
            let latest = min(limit, max(deadline ?? firstSignal, firstSignal))
            end = max(end ?? latest, latest)
        }
        guard let end else { return nil }
        return endOfGrace(firstSignal) ?? end.advanced(by: LingerPolicy.stopAllowance)
    }
}

/// How far a recorder has proceeded towards its end, according to its segment.
enum ExitProgress: Hashable {
    /// It has not begun to stop, or its segment cannot be read and nothing indicates that it has.
    ///
    /// The heartbeat is the last one; `nil` if none is promised or known.
    case running(heartbeat: BootTime?)
    /// From the beginning of the shutdown to the end of the process; the deadline is its own, if it has one.
    case stopping(deadline: BootTime?)
    /// Its process is alive, but the loop that would stop it does not run.
    case hung(run: [UInt8])
    /// No process holds the segment: this run writes nothing more.
    case over(run: [UInt8])

    init(_ recorder: KnownRecorder) {
        guard let snapshot = recorder.snapshot else {
            self = .running(heartbeat: nil)
            return
        }
        let (identity, lifecycle) = (snapshot.contents.identity, snapshot.contents.lifecycle)
        if !snapshot.isOwned {
            // Also when its file has been removed since: this is its final state.
            self = .over(run: identity.runID)
        } else if recorder.failure != nil {
            self = .running(heartbeat: nil)
        } else if snapshot.verdict == .hung {
            self = .hung(run: identity.runID)
        } else if lifecycle.state == .stopping || lifecycle.state == .stopped {
            let deadline = lifecycle.deadline
            self = .stopping(deadline: deadline.nanoseconds > 0 ? deadline : nil)
        } else {
            self = .running(heartbeat: identity.promisesHeartbeats ? snapshot.heartbeat : nil)
        }
    }

    fileprivate var isRunning: Bool {
        if case .running = self { true } else { false }
    }

    fileprivate var isHung: Bool {
        if case .hung = self { true } else { false }
    }
}

/// Numbers the final states of recorders: the number increases when another run ends or hangs.
///
/// A client that received the newest number has received all of them. A run that hangs has not ended, but this may be the
/// last state that the exporter can report: such a recorder does not stop before it is killed.
private struct FinalStates {
    private enum State: Hashable {
        case hung(run: [UInt8])
        case over(run: [UInt8])
    }

    private var states: Set<State> = []
    /// 0 until a run ends or hangs.
    private(set) var number: UInt32 = 0
    /// When the number last increased.
    private(set) var since = BootTime(nanoseconds: 0)

    /// Whether no recorder has ended or hangs; a following run replaces the one that has ended.
    var isEmpty: Bool { states.isEmpty }

    mutating func update(_ recorders: [ExitProgress], at now: BootTime) {
        var found: Set<State> = []
        for recorder in recorders {
            switch recorder {
            case .over(let run): found.insert(.over(run: run))
            case .hung(let run): found.insert(.hung(run: run))
            case .running, .stopping: break
            }
        }
        if !found.isSubset(of: states) { (number, since) = (number &+ 1, now) }
        states = found
    }
}
