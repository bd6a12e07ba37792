import Posix

/// Why a stream is not switched on now.
enum Refusal: Equatable, Sendable {
    case starting, draining
    case stopping(secondsLeft: Double)
    /// The disk has no room for another recording.
    case noSpace
    case failed(SystemError)
}

/// What became of a wish to switch a stream on or off.
enum Switching: Equatable, Sendable {
    /// It was otherwise, and is on its way now.
    case changed
    /// It was so already.
    case unchanged
    case refused(Refusal)
}

extension Roster {
    /// Switches a stream on; where that fails now and `insists`, it is tried again until it is switched off.
    func start(_ worker: StreamWorker, insists: Bool = false) -> Switching {
        if let refusal { return .refused(refusal) }
        switch worker.phase {
        case .on, .endingWhole(thenOn: true): return .unchanged
        case .off, .endingWhole(thenOn: false), .interrupted: break
        }
        do throws(SystemError) {
            try worker.start()
            return .changed
        } catch {
            if insists { worker.startInsisting() }
            return .refused(.failed(error))
        }
    }

    /// Switches a stream off; also while draining, which it shortens.
    func stop(_ worker: StreamWorker) -> Switching {
        if let refusal, refusal != .draining { return .refused(refusal) }
        switch worker.phase {
        case .off, .endingWhole(thenOn: false), .interrupted: return .unchanged
        case .on, .endingWhole(thenOn: true): break
        }
        worker.stop()
        return .changed
    }

    /// Why nothing new is begun now; `nil` when it is.
    var refusal: Refusal? {
        switch current {
        case .starting: .starting
        case .recording: nil
        case .draining: .draining
        case .stopping(_, let deadline):
            .stopping(secondsLeft: deadline.since(.now()).inSeconds)
        }
    }
}
