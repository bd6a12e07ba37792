import Testing

@testable import Exporter

private typealias Scene = LingerScene
private typealias Ending = LingerScene.Ending

/// A recorder that stops at ten minutes and takes ten seconds.
private let stopping = Scene.Recorder(stops: 600, ends: 610)

@Suite("When the exporter exits")
struct LingerTests {
    @Test(
        "not before each scraper has the final state, and then at once",
        arguments: [
            (
                Scene("a native sidecar: told when the recorder is gone") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 15, from: 7)]
                    $0.signals = [610]
                }, Ending(reason: .collected, time: 622, collected: 1)
            ),
            (
                Scene("both told at once") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 15, from: 7)]
                    $0.signals = [600]
                }, Ending(reason: .collected, time: 622, collected: 1)
            ),
            (
                Scene("the exporter told four seconds earlier") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 15, from: 7)]
                    $0.signals = [596]
                }, Ending(reason: .collected, time: 622, collected: 1)
            ),
            (
                Scene("already collected when it is told") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 15, from: 7)]
                    $0.signals = [700]
                }, Ending(reason: .collected, time: 700, collected: 1)
            ),
            (
                Scene("a pair that looks alike, behind one address") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 15, from: 1), .init(every: 15, from: 9)]
                    $0.signals = [610]
                }, Ending(reason: .collected, time: 624, collected: 2)
            ),
            (
                Scene("a pair with unlike intervals: the fast one does not count for both") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 1, from: 0.5), .init(every: 15, from: 9)]
                    $0.signals = [600]
                }, Ending(reason: .collected, time: 624, collected: 2)
            ),
            (
                Scene("without kept connections, a lone scraper is still one") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 15, from: 7, keepsAlive: false)]
                    $0.signals = [610]
                }, Ending(reason: .collected, time: 622, collected: 1)
            ),
            (
                Scene("a Prometheus that was restarted, with a new connection") {
                    $0.recorders = [stopping]
                    $0.scrapers = [
                        .init(every: 15, from: 7, until: 500), .init(every: 15, from: 517),
                    ]
                    $0.signals = [610]
                }, Ending(reason: .collected, time: 622, collected: 1)
            ),
            (
                Scene("a Prometheus that is restarted while the recorder stops") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 1, until: 596), .init(every: 1, from: 607.5)]
                    $0.signals = [600]
                }, Ending(reason: .collected, time: 610.5, collected: 1)
            ),
            (
                Scene("two recorders: the final state of the last one") {
                    $0.recorders = [stopping, .init(stops: 605, ends: 630)]
                    $0.scrapers = [.init(every: 15, from: 7)]
                    $0.signals = [600]
                }, Ending(reason: .collected, time: 637, collected: 1)
            ),
            (
                Scene("a crash, an hour old, that everyone knows of") {
                    $0.recorders = [.init(ends: 100)]
                    $0.scrapers = [.init(every: 15, from: 7)]
                    $0.signals = [3000]
                }, Ending(reason: .collected, time: 3000, collected: 1)
            ),
            (
                Scene("an exporter so young that nobody has come yet") {
                    $0.recorders = [.init(stops: 10, ends: 20)]
                    $0.scrapers = [.init(every: 15, from: 40)]
                    $0.signals = [10]
                }, Ending(reason: .collected, time: 40, collected: 1)
            ),
            (
                Scene("a program without Prometheus' header that comes regularly") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(agent: "Telegraf/1.30", every: 10, from: 8)]
                    $0.signals = [610]
                }, Ending(reason: .collected, time: 618, collected: 1)
            ),
        ]
    )
    fileprivate func collects(_ scene: Scene, _ ending: Ending) {
        #expect(scene.play() == ending)
    }

    @Test(
        "at once, or nearly, when there is nothing to wait for",
        arguments: [
            (
                Scene("nobody scrapes") {
                    $0.recorders = [stopping]
                    $0.signals = [601]
                }, Ending(reason: .noScraper, time: 601)
            ),
            (
                Scene("the last scraper was there six minutes ago") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 15, until: 240)]
                    $0.signals = [601]
                }, Ending(reason: .noScraper, time: 601)
            ),
            (
                Scene("a person looked once") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(agent: "curl/8.0", every: 3600, from: 595)]
                    $0.signals = [601]
                }, Ending(reason: .noScraper, time: 601)
            ),
            (
                Scene("only a kubelet's probe comes, on the wrong path") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(agent: "kube-probe/1.33", every: 10)]
                    $0.signals = [601]
                }, Ending(reason: .noScraper, time: 601)
            ),
            (
                Scene("the recorder runs on: only the exporter is restarted") {
                    $0.recorders = [.init()]
                    $0.scrapers = [.init(every: 15)]
                    $0.signals = [601]
                }, Ending(reason: .recorderRunsOn, time: 606)
            ),
            (
                Scene("there is no recorder") {
                    $0.scrapers = [.init(every: 15)]
                    $0.signals = [601]
                }, Ending(reason: .noRecorder, time: 601)
            ),
            (
                Scene("the linger is off") {
                    $0.policy.max = .zero
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 15)]
                    $0.signals = [601]
                }, Ending(reason: .lingerOff, time: 601)
            ),
            (
                Scene("a second signal") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 15)]
                    $0.signals = [601, 603]
                }, Ending(reason: .secondSignal, time: 603)
            ),
        ]
    )
    fileprivate func leavesAtOnce(_ scene: Scene, _ ending: Ending) {
        #expect(scene.play() == ending)
    }

    @Test(
        "a recorder that hangs: its scrapers get to know, and its end is awaited while there is time",
        arguments: [
            (
                Scene(
                    "it hangs when it is told, and the exporter with it: until the grace period ends"
                ) {
                    $0.policy.gracePeriod = .seconds(60)
                    $0.recorders = [.init(hangs: 599.5)]
                    $0.scrapers = [.init(every: 15, from: 7)]
                    $0.signals = [600]
                }, Ending(reason: .gracePeriodOver, time: 659, collected: 1)
            ),
            (
                Scene("its watchdog ends it: that is collected, too") {
                    $0.policy.gracePeriod = .seconds(60)
                    $0.recorders = [.init(ends: 630, hangs: 599.5)]
                    $0.scrapers = [.init(every: 15, from: 7)]
                    $0.signals = [600]
                }, Ending(reason: .collected, time: 637, collected: 1)
            ),
            (
                Scene("without a known grace period: until it is collected that it hangs") {
                    $0.recorders = [.init(hangs: 599.5)]
                    $0.scrapers = [.init(every: 15, from: 7)]
                    $0.signals = [600]
                }, Ending(reason: .recorderHangs, time: 622, collected: 1)
            ),
            (
                Scene("everyone knew before") {
                    $0.recorders = [.init(hangs: 300)]
                    $0.scrapers = [.init(every: 15, from: 7)]
                    $0.signals = [600]
                }, Ending(reason: .recorderHangs, time: 600, collected: 1)
            ),
            (
                Scene("the scraper comes too late for it") {
                    $0.policy.gracePeriod = .seconds(20)
                    $0.recorders = [.init(hangs: 599.5)]
                    $0.scrapers = [.init(every: 60, from: 50)]
                    $0.signals = [600]
                }, Ending(reason: .gracePeriodOver, time: 619, missed: 1)
            ),
            (
                Scene("a heartbeat after the signal: it runs on") {
                    $0.recorders = [.init(hangs: 601)]
                    $0.scrapers = [.init(every: 15, from: 7)]
                    $0.signals = [600]
                }, Ending(reason: .recorderRunsOn, time: 605)
            ),
            (
                Scene("a reload of Prometheus a minute before the end is no second scraper") {
                    $0.recorders = [stopping]
                    $0.scrapers = [
                        .init(every: 15, from: 7, until: 560),
                        .init(every: 15, from: 561),
                    ]
                    $0.signals = [600]
                }, Ending(reason: .collected, time: 621, collected: 1)
            ),
        ]
    )
    fileprivate func hangs(_ scene: Scene, _ ending: Ending) {
        #expect(scene.play() == ending)
    }

    @Test(
        "no later than its bounds",
        arguments: [
            (
                Scene("two scrape intervals and five seconds") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 15, acknowledges: false)]
                    $0.signals = [600]
                }, Ending(reason: .notCollected, time: 645, missed: 1)
            ),
            (
                Scene("35 s for a scraper that came only once") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 3600, from: 590)]
                    $0.signals = [600]
                }, Ending(reason: .notCollected, time: 645, missed: 1)
            ),
            (
                Scene("35 s for a first scraper that does not come") {
                    $0.recorders = [.init(stops: 10, ends: 20)]
                    $0.signals = [10]
                }, Ending(reason: .noScraper, time: 55)
            ),
            (
                Scene("a scraper that has missed three scrapes is not awaited") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 15, until: 500)]
                    $0.signals = [600]
                }, Ending(reason: .notCollected, time: 610, missed: 1)
            ),
            (
                Scene("one that has gone holds nothing up, another is awaited still") {
                    $0.recorders = [stopping]
                    $0.scrapers = [
                        .init(every: 15, from: 7),
                        .init(agent: "Prometheus/2.42.0", every: 15, until: 500),
                    ]
                    $0.signals = [600]
                }, Ending(reason: .notCollected, time: 622, collected: 1, missed: 1)
            ),
            (
                Scene("one that goes during the wait") {
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 1, until: 609)]
                    $0.signals = [600]
                }, Ending(reason: .notCollected, time: 613.05, missed: 1)
            ),
            (
                Scene("--linger.max") {
                    $0.policy.max = .seconds(3)
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 15, from: 0)]
                    $0.signals = [600]
                }, Ending(reason: .notCollected, time: 613, missed: 1)
            ),
            (
                Scene("a second before the grace period is over, since SIGTERM") {
                    $0.policy.gracePeriod = .seconds(8)
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 15)]
                    $0.signals = [605]
                }, Ending(reason: .gracePeriodOver, time: 612, missed: 1)
            ),
            (
                Scene("a second before the grace period is over, since the preStop hook") {
                    $0.policy.gracePeriod = .seconds(15)
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 15, from: 14.95)]
                    $0.marks = [600, 605]
                    $0.signals = [610]
                }, Ending(reason: .gracePeriodOver, time: 614, missed: 1)
            ),
            (
                Scene("a preStop hook without a termination is forgotten") {
                    $0.policy.gracePeriod = .seconds(15)
                    $0.recorders = [stopping]
                    $0.scrapers = [.init(every: 15, from: 7)]
                    $0.marks = [590]
                    $0.signals = [610]
                }, Ending(reason: .collected, time: 622, collected: 1)
            ),
            (
                Scene("a recorder that does not end: 35 s after its own deadline") {
                    $0.recorders = [.init(stops: 600, deadline: 660)]
                    $0.scrapers = [.init(every: 15)]
                    $0.signals = [600]
                }, Ending(reason: .recorderOverdue, time: 695)
            ),
            (
                Scene("a recorder that does not end, within a grace period: to its end") {
                    $0.policy.gracePeriod = .seconds(120)
                    $0.recorders = [.init(stops: 600, deadline: 660)]
                    $0.scrapers = [.init(every: 15)]
                    $0.signals = [600]
                }, Ending(reason: .gracePeriodOver, time: 719)
            ),
        ]
    )
    fileprivate func bounds(_ scene: Scene, _ ending: Ending) {
        #expect(scene.play() == ending)
    }

    @Test("without a signal it stays, and needs not be woken")
    func serving() {
        var linger = LingerState(LingerPolicy(), startedAt: seconds(0))
        linger.update([.over(run: [1])], at: seconds(1))
        linger.noteTermination(at: seconds(2))
        #expect(linger.decide(at: seconds(3600)) == .stay(until: nil))
        #expect(linger.waitingFor == .nothing)
    }

    @Test("while it waits it says for what, and wants to look again soon")
    func waiting() {
        var linger = LingerState(LingerPolicy(), startedAt: seconds(0))
        linger.update([.stopping(deadline: nil)], at: seconds(1))
        linger.noteSignal(at: seconds(1))
        #expect(linger.decide(at: seconds(1)) == .stay(until: seconds(1.25)))
        #expect(linger.waitingFor == .recorders)
        linger.update([.over(run: [1])], at: seconds(2))
        #expect(linger.decide(at: seconds(2)) == .stay(until: seconds(2.25)))
        #expect(linger.waitingFor == .scrapers)
    }

    @Test("only a scrape of the newest final state has a tag, until it is acknowledged")
    func tags() throws {
        var linger = LingerState(LingerPolicy(), startedAt: seconds(0))
        let identity = ScraperIdentity(peer: "10.0.0.1", agent: "Prometheus/3.4.0")
        linger.update([.running(heartbeat: nil)], at: seconds(1))
        #expect(linger.noteScrape(by: identity, 1, at: seconds(1)) == nil)
        linger.update([.over(run: [1])], at: seconds(2))
        let first = linger.noteScrape(by: identity, 1, at: seconds(2))
        let tag = try #require(first)
        #expect(linger.noteScrape(by: identity, 1, at: seconds(3)) == tag)
        #expect(ScrapeTag(rawValue: tag.rawValue) == tag)
        #expect(linger.noteAcknowledged(tag)?.identity == identity)
        #expect(linger.noteAcknowledged(tag) == nil, "told once")
        #expect(linger.noteScrape(by: identity, 1, at: seconds(4)) == nil)
        linger.update([.running(heartbeat: nil)], at: seconds(5))
        linger.update([.over(run: [2])], at: seconds(6))
        #expect(linger.noteScrape(by: identity, 1, at: seconds(6)) != nil)
    }
}
