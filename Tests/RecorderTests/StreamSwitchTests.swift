import Testing

@testable import Recorder

@Suite("The switch of a stream")
struct StreamSwitchTests {
    typealias Event = StreamSwitch.Event
    typealias StreamState = StreamSwitch.StreamState
    typealias Action = StreamSwitch.Action

    /// The switch after `events`, with the last action.
    private func turned(_ events: [Event]) -> (StreamSwitch, Action) {
        var power = StreamSwitch()
        var action = Action.none
        for event in events { action = power.take(event) }
        return (power, action)
    }

    @Test(
        "each event leads where it should, with what is to be done",
        arguments: [
            ([.start], .on, .launch), ([.start, .start], .on, .none),
            ([.stop], .off, .none), ([.start, .ended], .off, .none),
            ([.start, .stop], .stopping(thenStart: false), .requestStop),
            ([.start, .stop, .stop], .stopping(thenStart: false), .none),
            ([.start, .stop, .ended], .off, .none),
            ([.start, .stop, .start], .stopping(thenStart: true), .none),
            ([.start, .stop, .start, .stop], .stopping(thenStart: false), .none),
            ([.start, .stop, .start, .ended], .on, .launch),
            ([.start, .shutDown], .interrupted, .requestStop),
            ([.start, .shutDown, .shutDown], .interrupted, .none),
            ([.start, .shutDown, .stop], .interrupted, .none),
            ([.start, .shutDown, .ended], .off, .none),
            ([.start, .stop, .shutDown], .stopping(thenStart: false), .none),
            ([.start, .stop, .start, .shutDown], .stopping(thenStart: false), .none),
            ([.start, .drain(isRecording: true)], .on, .none),
            (
                [.start, .drain(isRecording: true), .stop], .stopping(thenStart: false),
                .requestStop
            ),
            ([.start, .drain(isRecording: true), .shutDown], .interrupted, .requestStop),
            ([.start, .drain(isRecording: true), .ended], .off, .none),
            ([.start, .drain(isRecording: false)], .stopping(thenStart: false), .requestStop),
            (
                [.start, .stop, .start, .drain(isRecording: true)], .stopping(thenStart: false),
                .none
            ),
        ] as [([Event], StreamState, Action)]
    )
    func transition(_ events: [Event], _ state: StreamState, _ action: Action) {
        let (power, last) = turned(events)
        #expect(power.state == state)
        #expect(last == action)
    }

    @Test(
        "after a drain or a shutdown nothing begins",
        arguments: [.drain(isRecording: false), .drain(isRecording: true), .shutDown] as [Event]
    )
    func closed(_ end: Event) {
        for before in [[], [.start], [.start, .stop]] as [[Event]] {
            var (power, _) = turned(before + [end, .ended])
            #expect(power.state == .off)
            let action = power.take(.start)
            #expect(action == .none)
            #expect(power.state == .off)
            #expect(!power.continues)
        }
    }

    @Test("a source that ends is asked again only while the stream is on and nothing ends")
    func goesOn() {
        #expect(turned([.start]).0.continues)
        #expect(!turned([.start, .stop]).0.continues)
        #expect(!turned([.start, .stop, .start]).0.continues)
        #expect(!turned([.start, .drain(isRecording: true)]).0.continues)
    }

    @Test(
        "a recording that has lasted long enough is followed by the next, by nothing while draining",
        arguments: [
            ([.start], .next), ([.start, .drain(isRecording: true)], .none),
            ([.start, .stop], .itself), ([.start, .stop, .start], .itself),
            ([.start, .shutDown], .itself),
            ([.start, .drain(isRecording: true), .stop], .itself),
            ([.start, .drain(isRecording: true), .shutDown], .itself),
        ] as [([Event], StreamSwitch.SplitAction)]
    )
    func splitAction(_ events: [Event], _ splitAction: StreamSwitch.SplitAction) {
        #expect(turned(events).0.splitAction == splitAction)
    }

    @Test("only a shutdown interrupts; what was asked to end before that is complete")
    func interrupted() {
        #expect(turned([.start, .shutDown]).0.isInterrupted)
        #expect(!turned([.start, .stop]).0.isInterrupted)
        #expect(!turned([.start, .stop, .shutDown]).0.isInterrupted)
    }
}
