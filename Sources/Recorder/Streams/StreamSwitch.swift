/// Whether a stream is to be recorded, and what its thread has to know of that; pure.
///
/// A stream that is on is recorded whenever its source delivers, until it is switched off.
struct StreamSwitch: Equatable {
    enum Phase: Equatable {
        /// No thread.
        case off
        /// A thread that records, or waits for the source.
        case on
        /// The thread was asked to end; what it records is whole and wanted so.
        case endingWhole(thenOn: Bool)
        /// The thread was asked to end by the shutdown.
        case interrupted
    }

    enum Event: Equatable {
        case start, stop
        /// No new recordings from now on; `isRecording` tells whether one is under way.
        case drain(isRecording: Bool)
        case shutDown
        /// The thread is done.
        case ended
    }

    /// What follows from an event.
    enum Action: Equatable {
        case none, launch
        /// To ask the thread to end.
        case requestStop
    }

    private(set) var phase = Phase.off
    /// Whether the switch can be turned on.
    private(set) var isOpen = true

    /// Whether a source that ends may be asked again.
    var mayGoOn: Bool { phase == .on && isOpen }

    /// What follows on a recording that has lasted long enough.
    enum Succession: Equatable {
        case next
        /// Nothing: no recording begins any more.
        case none
        /// It goes on to its end, which was asked for.
        case itself
    }

    var succession: Succession {
        switch phase {
        case .on: isOpen ? .next : .none
        case .off, .endingWhole, .interrupted: .itself
        }
    }

    /// How a recording counts whose source was asked to end.
    var isInterrupted: Bool { phase == .interrupted }

    mutating func take(_ event: Event) -> Action {
        if closes(with: event) { isOpen = false }
        switch (event, phase) {
        case (.start, .off) where isOpen: return enter(.on, .launch)
        case (.start, .endingWhole) where isOpen: return enter(.endingWhole(thenOn: true))
        case (.stop, .on): return enter(.endingWhole(thenOn: false), .requestStop)
        case (.stop, .endingWhole), (.drain, .endingWhole), (.shutDown, .endingWhole):
            return enter(.endingWhole(thenOn: false))
        case (.drain(isRecording: false), .on):
            return enter(.endingWhole(thenOn: false), .requestStop)
        case (.shutDown, .on): return enter(.interrupted, .requestStop)
        case (.ended, .endingWhole(thenOn: true)): return enter(.on, .launch)
        case (.ended, _): return enter(.off)
        case (.start, _), (.stop, _), (.drain, _), (.shutDown, _): return .none
        }
    }

    private func closes(with event: Event) -> Bool {
        switch event {
        case .drain, .shutDown: true
        case .start, .stop, .ended: false
        }
    }

    private mutating func enter(_ next: Phase, _ action: Action = .none) -> Action {
        phase = next
        return action
    }
}
