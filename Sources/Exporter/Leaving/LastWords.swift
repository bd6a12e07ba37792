import Posix

/// Numbers the final states of recorders: the number rises when one more run is over, or hangs.
///
/// A client that was sent the newest number was sent all of them. That a run hangs is not its end, but maybe the last that
/// this exporter can report of it: a recorder that hangs does not stop before it is killed.
struct LastWords {
    private enum State: Hashable {
        case hung(run: [UInt8])
        case over(run: [UInt8])
    }

    private var states: Set<State> = []
    /// 0 until a run is over or hangs.
    private(set) var number: UInt32 = 0
    /// When the number was seen to rise.
    private(set) var since = BootTime(nanoseconds: 0)

    /// Whether no recorder has left one that the next run has not taken up.
    var isEmpty: Bool { states.isEmpty }

    mutating func note(_ stages: [RecorderStage], at now: BootTime) {
        var found: Set<State> = []
        for stage in stages {
            switch stage {
            case .over(let run): found.insert(.over(run: run))
            case .hung(let run): found.insert(.hung(run: run))
            case .running, .stopping: break
            }
        }
        if !found.isSubset(of: states) { (number, since) = (number &+ 1, now) }
        states = found
    }
}
