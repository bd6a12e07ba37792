package import Posix

/// A segment as it was at one moment, judged, with every cell filled: what an exposition renders.
package struct Snapshot: Sendable {
    package let contents: SegmentContents
    package let verdict: Verdict
    /// The last sign of life.
    package let heartbeat: BootTime
    package let isOwned: Bool
    /// Whether the run was started in another boot than the reader's.
    let isOfAnotherBoot: Bool
    package let takenAt: BootTime
    /// The run as history will have it, once it is over.
    package let past: PastRun?
    /// Cells of all series, by index; a histogram's are its sum and its buckets.
    package let words: [UInt64]

    /// Needs the words of the file that `contents` refers to, and room for those that it adds; see `ObservedRun` for the rest.
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

    /// The same cells, when the file can no longer be read: nothing tells that the recorder lives.
    package var wordsWhenUnreadable: [UInt64] {
        var unseen = SnapshotWords(words: words)
        unseen.set(contents.runCells.up, 0)
        return unseen.words
    }

    /// Runs that are over, the latest last: those of the file, and its own if that is over.
    package var history: [PastRun] {
        (contents.history + (past.map { [$0] } ?? [])).suffix(PastRun.kept)
    }
}
