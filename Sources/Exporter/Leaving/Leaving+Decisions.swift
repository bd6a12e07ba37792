import Posix

extension Leaving {
    /// While something is awaited, the directory is looked at so often.
    static let pulse = Duration.milliseconds(250)
    /// A recorder that has not begun to stop by then runs on.
    static let recorderPatience = Duration.seconds(5)
    /// An exporter that nobody has scraped for so long is not scraped at all.
    static let firstScrapePatience = Duration.seconds(120)

    /// To be asked after each turn of events.
    mutating func decide(at now: BootTime) -> Decision {
        guard let firstSignal else { return .stay(until: nil) }
        scrapers.mergeSuccessors(at: now)
        switch judge(at: now, since: firstSignal) {
        case .wait(let awaited, let limit):
            self.awaited = awaited
            awaitedUntil = limit
            return .stay(until: now.advanced(by: Self.pulse))
        case .leave(let reason):
            awaited = .nothing
            return .leave(departure(reason, at: now, since: firstSignal))
        }
    }

    private enum Judgement {
        /// Until that time at most.
        case wait(Awaited, until: BootTime)
        case leave(Departure.Reason)
    }

    private func judge(at now: BootTime, since firstSignal: BootTime) -> Judgement {
        if isHurried { return .leave(.secondSignal) }
        if policy.most == .zero { return .leave(.lingerOff) }
        if let end = endOfGrace(firstSignal), now >= end { return .leave(.gracePeriodOver) }
        if isIgnored(at: now) { return .leave(.nobodyScrapes) }
        if let end = endOfStopping(firstSignal) {
            return now < end ? .wait(.recorders, until: end) : .leave(.recorderOverdue)
        }
        if let end = endOfDoubt(at: now, since: firstSignal) {
            return .wait(.recorders, until: end)
        }
        let someRun = stages.contains(where: \.isRunning)
        if words.isEmpty { return .leave(someRun ? .recorderRunsOn : .noRecorder) }
        return judgeScrapers(at: now, lingeringSince: max(firstSignal, words.since))
    }

    private func judgeScrapers(at now: BootTime, lingeringSince start: BootTime) -> Judgement {
        let known = scrapers.genuine(at: now)
        if known.isEmpty {  // The first one may be on its way to an exporter that is young.
            let end = start.advanced(by: policy.patience(nil))
            return now < end ? .wait(.scrapers, until: end) : .leave(.nobodyScrapes)
        }
        let missing = known.filter { !hasLastWord($0) }
        if missing.isEmpty {
            return .leave(stages.contains(where: \.isHung) ? .recorderHangs : .collected)
        }
        let ends = missing.filter { !$0.hasDisappeared(at: now) }
            .map { start.advanced(by: policy.patience($0.pace.learned)) }
        guard let end = ends.max(), now < end else { return .leave(.notCollected) }
        return .wait(.scrapers, until: end)
    }

    /// Until when a recorder that has not begun to stop may still do so, or hang; `nil` when none may.
    ///
    /// Only a heartbeat after the signal shows that its loop runs on: without one, it will soon be seen to hang.
    private func endOfDoubt(at now: BootTime, since firstSignal: BootTime) -> BootTime? {
        let ends = stages.compactMap { stage -> BootTime? in
            guard case .running(let heartbeat) = stage else { return nil }
            let isSilent = heartbeat.map { $0 < firstSignal } ?? false
            let patience = isSilent ? LingerPolicy.overrun : Self.recorderPatience
            return firstSignal.advanced(by: patience)
        }
        return ends.filter { now < $0 }.max()
    }

    private func departure(
        _ reason: Departure.Reason,
        at now: BootTime,
        since firstSignal: BootTime
    ) -> Departure {
        let known = words.isEmpty ? [] : scrapers.genuine(at: now)
        return Departure(
            reason: reason,
            waited: now.since(firstSignal),
            collected: known.filter(hasLastWord).map(\.kind),
            missed: known.filter { !hasLastWord($0) }.map(\.kind)
        )
    }

    /// How long the exporter goes on waiting at most, and for how many scrapers: for the log.
    func wait(at now: BootTime) -> (atMost: Duration, known: Int, missing: Int) {
        let known = scrapers.genuine(at: now)
        let end = firstSignal.flatMap(endOfGrace)
        let limit = min(awaitedUntil, end ?? awaitedUntil)
        return (limit.since(now), known.count, known.count { !hasLastWord($0) })
    }

    private func hasLastWord(_ scraper: Scraper) -> Bool { scraper.collected == words.number }

    /// Whether the exporter has been up for long without a scraper.
    private func isIgnored(at now: BootTime) -> Bool {
        now.since(startedAt) >= Self.firstScrapePatience && scrapers.genuine(at: now).isEmpty
    }

    /// A little before SIGKILL; `nil` when that is not known.
    private func endOfGrace(_ firstSignal: BootTime) -> BootTime? {
        guard let grace = policy.gracePeriod else { return nil }
        let mark = terminationMark.map { firstSignal.since($0) < grace ? $0 : firstSignal }
        let start = min(mark ?? firstSignal, firstSignal)
        return start.advanced(by: grace - LingerPolicy.margin)
    }

    /// Until when to wait for recorders that are stopping; `nil` when none is.
    ///
    /// The end of the grace period if it is known, else some time after their own deadlines. One that hangs may be ended by
    /// its watchdog until the grace period is over; without a known one, it is not waited for.
    private func endOfStopping(_ firstSignal: BootTime) -> BootTime? {
        if let end = endOfGrace(firstSignal), stages.contains(where: \.isHung) { return end }
        var end: BootTime?
        for case .stopping(let deadline) in stages {
            // A segment may have any deadline.
            let limit = firstSignal.advanced(by: LingerPolicy.maxDeadline)
            let latest = min(limit, max(deadline ?? firstSignal, firstSignal))
            end = max(end ?? latest, latest)
        }
        guard let end else { return nil }
        return endOfGrace(firstSignal) ?? end.advanced(by: LingerPolicy.overrun)
    }
}

extension RecorderStage {
    fileprivate var isRunning: Bool {
        if case .running = self { true } else { false }
    }

    fileprivate var isHung: Bool {
        if case .hung = self { true } else { false }
    }
}
