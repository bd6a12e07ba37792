import Posix

/// How long ago recordings ended, whatever happened to the calendar's clock meanwhile.
///
/// A recording of this boot has the age that the boot's clock says. Of the others, what their clock said counts where it
/// is plausible: not before this recorder was made, not in the future, and not before an earlier recording began; their
/// order is that of their ids, which never goes back. One whose clock was not set ended, for want of anything better, when
/// the next one with a plausible time began: it is kept rather longer than too short.
struct RecordingAges: Sendable {
    private var ages: [Int64: Duration] = [:]

    /// Takes all recordings that there are, in any order.
    ///
    /// `now` is what the calendar says, as far as that can be trusted; `nil` when it cannot: only ages of this boot are known then.
    init(of recordings: [CatalogueRecording], at now: UTCTime?, _ boot: BootStamp?) {
        let recordings = recordings.sorted { $0.id < $1.id }
        func known(_ time: UTCTime?) -> UTCTime? {
            guard let time, let now, time >= .earliestPlausible, time <= now else { return nil }
            return time
        }
        // No recording began before those with smaller ids.
        var latestStart: UTCTime?
        let starts = recordings.map { recording in
            let start = known(recording.startedAt)
            latestStart = [latestStart, start].compactMap(\.self).max()
            return (latest: latestStart, isKnown: start != nil)
        }
        var nextStart = now
        for (recording, start) in zip(recordings, starts).reversed() {
            defer { if start.isKnown { nextStart = start.latest } }
            guard let endedAt = recording.endedAt else { continue }
            if let endedBoot = recording.endedBoot, let age = boot?.since(endedBoot) {
                ages[recording.id] = age
                continue
            }
            let end = known(endedAt).map { max($0, start.latest ?? $0) } ?? nextStart
            guard let now, let end else { continue }
            ages[recording.id] = .seconds(max(0, now.seconds - end.seconds))
        }
    }

    /// `nil` when it is not known, or the recording has not ended.
    subscript(recording: CatalogueRecording) -> Duration? { ages[recording.id] }
}

/// The calendar's clock as far as retention trusts it: a step forward makes no recording old.
struct SteadyClock: Sendable {
    private var anchor: (wall: UTCTime, boot: BootTime)?
    /// When the clock was first seen a step ahead.
    private var aheadSince: BootTime?

    /// Differences up to this are corrections, not steps.
    private static let tolerance = Duration.seconds(60)
    /// A clock that has been ahead for so long is believed.
    private static let patience = Duration.seconds(86_400)

    /// Takes a time that the calendar had in this boot, such as the end of a recording.
    init(wall: UTCTime? = nil, at boot: BootTime? = nil) {
        if let wall, let boot, wall >= .earliestPlausible { anchor = (wall, boot) }
    }

    /// The time to count ages from: not later than the clock says, nor than it said earlier, plus what has passed.
    ///
    /// `nil` while the clock was never set.
    mutating func read(_ wall: UTCTime, at boot: BootTime) -> UTCTime? {
        let isPlausible = wall >= .earliestPlausible
        guard let anchor else {
            if isPlausible { self.anchor = (wall, boot) }
            return isPlausible ? wall : nil
        }
        let passed = Int(boot.since(anchor.boot).inSeconds)
        let steady = anchor.wall.seconds.addingClamped(passed)
        guard isPlausible else { return UTCTime(seconds: steady) }
        let ahead = wall.seconds.addingClamped(-steady)
        if ahead > Int(Self.tolerance.inSeconds) {
            let since = aheadSince ?? boot
            aheadSince = since
            guard boot.since(since) >= Self.patience else { return UTCTime(seconds: steady) }
        }
        aheadSince = nil
        // A clock that was set back may be wrong, too, and set forward again: the later of the two stays the measure.
        if ahead >= -Int(Self.tolerance.inSeconds) { self.anchor = (wall, boot) }
        return wall
    }

    /// How far the clock was ahead when it was last read.
    var isAhead: Bool { aheadSince != nil }
}
