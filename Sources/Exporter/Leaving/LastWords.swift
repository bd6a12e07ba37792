import Posix

/// Numbers the last words of recorders: the number rises when one more run is over.
///
/// So whoever has been shown the newest number has been shown everything.
struct LastWords {
    private var runs: Set<[UInt8]> = []
    /// 0 until a run is over.
    private(set) var number: UInt32 = 0
    /// When the number was seen to rise.
    private(set) var since = BootTime(nanoseconds: 0)

    /// Whether no recorder has left one that the next run has not taken up.
    var isEmpty: Bool { runs.isEmpty }

    mutating func note(_ stages: [RecorderStage], at now: BootTime) {
        var over: Set<[UInt8]> = []
        for case .over(let run) in stages { over.insert(run) }
        if !over.isSubset(of: runs) { (number, since) = (number + 1, now) }
        runs = over
    }
}
