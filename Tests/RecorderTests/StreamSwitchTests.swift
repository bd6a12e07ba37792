import Testing

@testable import Recorder

@Suite("The switch of a stream")
struct StreamSwitchTests {
    typealias Event = StreamSwitch.Event
    typealias Phase = StreamSwitch.Phase
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
            ([.start, .stop], .endingWhole(thenOn: false), .requestStop),
            ([.start, .stop, .stop], .endingWhole(thenOn: false), .none),
            ([.start, .stop, .ended], .off, .none),
            ([.start, .stop, .start], .endingWhole(thenOn: true), .none),
            ([.start, .stop, .start, .stop], .endingWhole(thenOn: false), .none),
            ([.start, .stop, .start, .ended], .on, .launch),
            ([.start, .shutDown], .interrupted, .requestStop),
            ([.start, .shutDown, .shutDown], .interrupted, .none),
            ([.start, .shutDown, .stop], .interrupted, .none),
            ([.start, .shutDown, .ended], .off, .none),
            ([.start, .stop, .shutDown], .endingWhole(thenOn: false), .none),
            ([.start, .stop, .start, .shutDown], .endingWhole(thenOn: false), .none),
            ([.start, .drain(isRecording: true)], .on, .none),
            (
                [.start, .drain(isRecording: true), .stop], .endingWhole(thenOn: false),
                .requestStop
            ),
            ([.start, .drain(isRecording: true), .shutDown], .interrupted, .requestStop),
            ([.start, .drain(isRecording: true), .ended], .off, .none),
            ([.start, .drain(isRecording: false)], .endingWhole(thenOn: false), .requestStop),
            (
                [.start, .stop, .start, .drain(isRecording: true)], .endingWhole(thenOn: false),
                .none
            ),
        ] as [([Event], Phase, Action)]
    )
    func transition(_ events: [Event], _ phase: Phase, _ action: Action) {
        let (power, last) = turned(events)
        #expect(power.phase == phase)
        #expect(last == action)
    }

    @Test(
        "after a drain or a shutdown nothing begins",
        arguments: [.drain(isRecording: false), .drain(isRecording: true), .shutDown] as [Event]
    )
    func closed(_ end: Event) {
        for before in [[], [.start], [.start, .stop]] as [[Event]] {
            var (power, _) = turned(before + [end, .ended])
            #expect(power.phase == .off)
            let action = power.take(.start)
            #expect(action == .none)
            #expect(power.phase == .off)
            #expect(!power.mayGoOn)
        }
    }

    @Test("a source that ends is asked again only while the stream is on and nothing ends")
    func goesOn() {
        #expect(turned([.start]).0.mayGoOn)
        #expect(!turned([.start, .stop]).0.mayGoOn)
        #expect(!turned([.start, .stop, .start]).0.mayGoOn)
        #expect(!turned([.start, .drain(isRecording: true)]).0.mayGoOn)
    }

    @Test(
        "a recording that has lasted long enough is followed by the next, by nothing while draining",
        arguments: [
            ([.start], .next), ([.start, .drain(isRecording: true)], .none),
            ([.start, .stop], .itself), ([.start, .stop, .start], .itself),
            ([.start, .shutDown], .itself),
            ([.start, .drain(isRecording: true), .stop], .itself),
            ([.start, .drain(isRecording: true), .shutDown], .itself),
        ] as [([Event], StreamSwitch.Succession)]
    )
    func succession(_ events: [Event], _ succession: StreamSwitch.Succession) {
        #expect(turned(events).0.succession == succession)
    }

    @Test("only a shutdown interrupts; what was asked to end before that is complete")
    func interrupted() {
        #expect(turned([.start, .shutDown]).0.isInterrupted)
        #expect(!turned([.start, .stop]).0.isInterrupted)
        #expect(!turned([.start, .stop, .shutDown]).0.isInterrupted)
    }
}
