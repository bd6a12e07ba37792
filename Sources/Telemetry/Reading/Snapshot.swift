package import Posix

/// A segment at one moment, with its verdict and all cells filled in: what an exposition renders.
package struct Snapshot: Sendable {
    package let contents: SegmentContents
    package let verdict: Verdict
    /// The last heartbeat, or the start of the run if that is later.
    package let heartbeat: BootTime
    package let isOwned: Bool
    /// Whether the run started in another boot than the current one.
    let isOfAnotherBoot: Bool
    package let takenAt: BootTime
    /// The entry for the history; `nil` while the run is not over.
    package let past: PastRun?
    /// Cells of all series, by index; those of a histogram are its sum and its buckets.
    package let words: [UInt64]

    /// `fileWords` are the words that `contents` refers to, followed by room for those that it adds; see `ObservedRun` for the rest.
    init(
        _ contents: SegmentContents,
        words fileWords: consuming [UInt64],
        isOwned: Bool,
        now: BootTime,
        wall: WallTime? = nil,
        bootID: BootID,
        unchangedFor: Duration? = nil,
        hasOtherClock: Bool = false
    ) {
        let run = ObservedRun(
            contents,
            heartbeat: BootTime(nanoseconds: fileWords[SegmentWord.heartbeat]),
            rejected: fileWords[SegmentWord.rejected],
            isOwned: isOwned,
            now: now,
            wall: wall,
            bootID: bootID,
            unchangedFor: unchangedFor,
            hasOtherClock: hasOtherClock
        )
        let runBootID = contents.identity.bootID
        isOfAnotherBoot = runBootID != bootID && runBootID.isKnown && bootID.isKnown
        var filled = SnapshotWords(words: fileWords)
        for shown in contents.shown {
            let stamp = BootTime(nanoseconds: filled.words[shown.word + 1])
            let lastWrite = run.wall(max(stamp, shown.recording.startedBoot))
            filled.words[shown.addedWord] = shown.recording.startedWall.nanoseconds
            filled.words[shown.addedWord + 1] = lastWrite.nanoseconds
        }
        contents.runCells.fill(&filled, from: run)
        self.contents = contents
        verdict = run.verdict
        heartbeat = run.heartbeat
        self.isOwned = isOwned
        takenAt = now
        past = run.past
        words = filled.words
    }

    /// The same cells for a file that can no longer be read: `recorder_up` is 0.
    package var wordsWhenUnreadable: [UInt64] {
        var unseen = SnapshotWords(words: words)
        unseen.set(contents.runCells.up, 0)
        return unseen.words
    }

    /// Whether a count is higher than in words that were read later from the same file.
    func hasHigherCount(than later: [UInt64]) -> Bool {
        contents.counts.contains { range in range.contains { words[$0] > later[$0] } }
    }

    /// Runs that have ended, the latest last: those in the file, and the run of the file if it has ended.
    package var history: [PastRun] {
        (contents.history + (past.map { [$0] } ?? [])).suffix(PastRun.kept)
    }
}
