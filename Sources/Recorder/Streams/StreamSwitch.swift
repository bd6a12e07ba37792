/// Whether a stream is to be recorded, and what its thread is to do; pure.
///
/// A stream that is on is recorded whenever its source delivers, until it is switched off.
struct StreamSwitch: Equatable {
    enum StreamState: Equatable {
        /// No thread.
        case off
        /// A thread that records, or waits for the source.
        case on
        /// The thread was asked to end; its recording is then complete.
        case stopping(thenStart: Bool)
        /// The thread was asked to end by the shutdown.
        case interrupted
    }

    enum Event: Equatable {
        case start, stop
        /// No new recordings from now on; `isRecording`: whether one is open.
        case drain(isRecording: Bool)
        case shutDown
        /// The thread has ended.
        case ended
    }

    /// What to do after an event.
    enum Action: Equatable {
        case none, launch
        /// To ask the thread to end.
        case requestStop
    }

    private(set) var state = StreamState.off
    /// Whether the stream can be switched on.
    private(set) var isOpen = true

    /// Whether the source is tried again after it has ended.
    var continues: Bool { state == .on && isOpen }

    /// What follows a recording that has lasted long enough.
    enum SplitAction: Equatable {
        case next
        /// No recording begins any more.
        case none
        /// The recording continues to its end, which was requested.
        case itself
    }

    var splitAction: SplitAction {
        switch state {
        case .on: isOpen ? .next : .none
        case .off, .stopping, .interrupted: .itself
        }
    }

    /// Whether a recording whose source was stopped counts as interrupted.
    var isInterrupted: Bool { state == .interrupted }

    mutating func take(_ event: Event) -> Action {
        if closes(with: event) { isOpen = false }
        switch (event, state) {
        case (.start, .off) where isOpen: return enter(.on, .launch)
        case (.start, .stopping) where isOpen: return enter(.stopping(thenStart: true))
        case (.stop, .on): return enter(.stopping(thenStart: false), .requestStop)
        case (.stop, .stopping), (.drain, .stopping), (.shutDown, .stopping):
            return enter(.stopping(thenStart: false))
        case (.drain(isRecording: false), .on):
            return enter(.stopping(thenStart: false), .requestStop)
        case (.shutDown, .on): return enter(.interrupted, .requestStop)
        case (.ended, .stopping(thenStart: true)): return enter(.on, .launch)
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

    private mutating func enter(_ next: StreamState, _ action: Action = .none) -> Action {
        state = next
        return action
    }
}
