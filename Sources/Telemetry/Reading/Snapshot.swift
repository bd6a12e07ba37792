package import Posix

/// A segment as it was at one moment, judged, with every cell filled: what an exposition renders.
package struct Snapshot: Sendable {
    package let contents: SegmentContents
    package let verdict: Verdict
    /// The last sign of life.
    package let heartbeat: BootTime
    package let isOwned: Bool
    package let takenAt: BootTime
    /// The run as history will have it, once it is over.
    package let past: PastRun?
    /// Cells of all series, by index; a histogram's are its sum and its buckets.
    package let words: [UInt64]

    /// Needs at least `contents.fileWords` words of the file.
    init(
        _ contents: SegmentContents,
        fileWords: [UInt64],
        isOwned: Bool,
        now: BootTime,
        bootID: BootID
    ) {
        let run = ObservedRun(
            contents,
            heartbeat: BootTime(nanoseconds: fileWords[SegmentWord.heartbeat]),
            refused: fileWords[SegmentWord.refused],
            isOwned: isOwned,
            now: now,
            bootID: bootID
        )
        var filled = RunWords(words: fileWords)
        for shown in contents.shown {
            let lastWrite = max(
                BootTime(nanoseconds: fileWords[shown.word + 1]),
                shown.recording.startedBoot
            )
            filled.words.append(shown.recording.startedWall.nanoseconds)
            filled.words.append(contents.identity.wall(lastWrite).nanoseconds)
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
    package var wordsOfUnseenRecorder: [UInt64] {
        var unseen = RunWords(words: words)
        unseen.set(contents.runCells.up, 0)
        return unseen.words
    }

    /// Runs that are over, the latest last: those of the file, and its own if that is over.
    package var history: [PastRun] {
        (contents.history + (past.map { [$0] } ?? [])).suffix(PastRun.kept)
    }
}
