import Foundation
import Posix
import Testing

@testable import Fetch
@testable import HLS

@Suite("following a live playlist")
struct HLSTrackerTests {
    /// One load: seconds, first number, names; then the numbers to fetch, those missed, and whether it is a reset.
    struct Load: Sendable {
        var at: Double = 0
        var first: UInt64
        var names: String
        var fetch: [UInt64]
        var missed = 0
        var isRestarted = false
    }

    @Test(
        "what is new, missed, old or reset",
        arguments: [
            [Load(first: 7, names: "abc", fetch: [7, 8, 9])],  // The whole window at first.
            [  // Unchanged, then slid by one.
                Load(first: 7, names: "abc", fetch: [7, 8, 9]),
                Load(first: 7, names: "abc", fetch: []),
                Load(first: 8, names: "bcd", fetch: [10]),
            ],
            [  // A gap of two.
                Load(first: 0, names: "abc", fetch: [0, 1, 2]),
                Load(first: 5, names: "fgh", fetch: [5, 6, 7], missed: 2),
            ],
            [  // Marked as gaps: capital letters.
                Load(first: 0, names: "aBc", fetch: [0, 2], missed: 1),
                Load(first: 1, names: "BcD", fetch: [], missed: 1),
            ],
            [  // An old copy from a cache that overlaps.
                Load(first: 5, names: "abc", fetch: [5, 6, 7]),
                Load(first: 4, names: "zab", fetch: []),
                Load(first: 6, names: "bcd", fetch: [8]),
            ],
            [  // The same numbers, other media: a new sequence.
                Load(first: 0, names: "abc", fetch: [0, 1, 2]),
                Load(first: 0, names: "xy", fetch: [0, 1], isRestarted: true),
                Load(first: 0, names: "xyz", fetch: [2]),
            ],
            [  // Wholly below: old until it grows, for the names may be used again.
                Load(first: 50, names: "abc", fetch: [50, 51, 52]),
                Load(first: 0, names: "p", fetch: []),
                Load(first: 0, names: "p", fetch: []),
                Load(first: 0, names: "pq", fetch: [0, 1], isRestarted: true),
                Load(first: 1, names: "qr", fetch: [2]),
            ],
            [  // Empty at first, and in between.
                Load(first: 0, names: "", fetch: []), Load(first: 3, names: "ab", fetch: [3, 4]),
                Load(first: 0, names: "", fetch: []), Load(first: 4, names: "bc", fetch: [5]),
            ],
            [  // Numbers at the end of their range.
                Load(first: .max - 2, names: "ab", fetch: [.max - 2, .max - 1]),
                Load(first: .max - 1, names: "b", fetch: []),
            ],
            [  // A leap across the whole range is another sequence; its gaps count.
                Load(first: 0, names: "abc", fetch: [0, 1, 2]),
                Load(
                    at: 1,
                    first: .max - 11,
                    names: "tUv",
                    fetch: [.max - 11, .max - 9],
                    missed: 1,
                    isRestarted: true
                ),
                Load(at: 2, first: .max - 10, names: "UvW", fetch: [], missed: 1),
            ],
            [  // The least leap that no `Int` holds.
                Load(first: 0, names: "abc", fetch: [0, 1, 2]),
                Load(
                    at: 1,
                    first: 1 << 63 + 2,
                    names: "A",
                    fetch: [],
                    missed: 1,
                    isRestarted: true
                ),
            ],
            [  // Leap after leap.
                Load(first: 0, names: "a", fetch: [0]),
                Load(at: 1, first: 1 << 62, names: "b", fetch: [1 << 62], isRestarted: true),
                Load(at: 2, first: 1 << 63, names: "c", fetch: [1 << 63], isRestarted: true),
            ],
            [  // A gap of a minute after 5 s; an hour after 5 s, and after an hour.
                Load(first: 0, names: "abc", fetch: [0, 1, 2]),
                Load(at: 5, first: 33, names: "abc", fetch: [33, 34, 35], missed: 30),
                Load(
                    at: 10,
                    first: 1836,
                    names: "abc",
                    fetch: [1836, 1837, 1838],
                    isRestarted: true
                ),
                Load(at: 3610, first: 3639, names: "ab", fetch: [3639, 3640], missed: 1800),
            ],
        ]
    )
    func news(in loads: [Load]) {
        var tracker = PlaylistTracker()
        for load in loads {
            let playlist = live(first: load.first, names: load.names)
            let update = tracker.take(playlist, loadedAt: time(load.at))
            #expect(update.segments.map(\.sequence) == load.fetch, "\(load)")
            #expect(update.missed == load.missed, "\(load)")
            #expect(update.isRestarted == load.isRestarted, "\(load)")
        }
    }

    @Test(
        "reload one target after a change, half of it otherwise, never below the floor",
        arguments: [(6.0, 6.0, 3.0), (1.0, 1.0, 0.5), (0.5, 0.5, 0.5), (0.0, 0.5, 0.5)]
    )
    func pacing(target: Double, changed: Double, unchanged: Double) {
        var tracker = PlaylistTracker(minReloadInterval: .milliseconds(500))
        let playlist = live(first: 0, names: "a", target: target)
        _ = tracker.take(playlist, loadedAt: time(10))
        #expect(tracker.nextLoad == time(10 + changed))
        _ = tracker.take(playlist, loadedAt: time(20))
        #expect(tracker.nextLoad == time(20 + unchanged))
    }

    @Test(
        "a target duration that is far above what its segments last delays neither a load nor the end",
        arguments: [(61.0, 2.0, 2.0), (1_000_000, 0, 1), (1_000_000, 1_000_000, 60), (60, 2, 60)]
    )
    func longTarget(target: Double, segment: Double, pause: Double) {
        var tracker = PlaylistTracker()
        var playlist = live(first: 0, names: "a", target: target)
        playlist.segments[0].duration = .seconds(segment)
        _ = tracker.take(playlist, loadedAt: time(0))
        #expect(tracker.nextLoad == time(pause))
        for load in [60.0, 120, 179] {
            #expect(!tracker.take(playlist, loadedAt: time(load)).isLast || pause < 60)
        }
        #expect(tracker.take(playlist, loadedAt: time(180)).isLast)
    }

    @Test(
        "a run that follows another counts as missed what was announced, and not what no playlist named"
    )
    func resumedAcrossALeap() {
        var tracker = PlaylistTracker()
        _ = tracker.take(live(first: 0, names: "abcd"), loadedAt: time(0))
        var resumed = tracker.resumed(from: 2)
        let leap = resumed.take(live(first: 1 << 63, names: "xy"), loadedAt: time(1))
        #expect(leap.isRestarted && leap.missed == 2 && leap.segments.count == 2)
        // The queue still held a segment of the sequence that is over.
        var again = resumed.resumed(from: 3)
        let after = again.take(live(first: 1 << 63, names: "xyz"), loadedAt: time(2))
        #expect(!after.isRestarted && after.missed == 0 && after.segments.count == 3)
    }

    @Test("long durations of a window do not explain a leap of short segments")
    func longDurations() {
        var tracker = PlaylistTracker()
        _ = tracker.take(live(first: 0, names: "abcdefgh", target: 1_000_000), loadedAt: time(0))
        let leap = tracker.take(live(first: 100_000, names: "xy", target: 0), loadedAt: time(1))
        #expect(leap.isRestarted && leap.missed == 0)
    }

    @Test("EXT-X-ENDLIST ends the stream with the load that shows it")
    func endList() {
        var tracker = PlaylistTracker()
        var playlist = live(first: 0, names: "abc")
        playlist.hasEnded = true
        let update = tracker.take(playlist, loadedAt: time(0))
        #expect(update.isLast && update.segments.count == 3)
    }

    @Test(
        "silence ends the stream after three targets, at least 5 s, seen by several loads",
        arguments: [
            (1.0, [1, 2, 3, 4, 4.9, 5], 5.0), (4.0, [2, 5, 8, 11.9, 12], 12.0),
            (1.0, [30, 31, 32], 32),
        ] as [(Double, [Double], Double)]
    )
    func silence(target: Double, loads: [Double], end: Double) {
        var tracker = PlaylistTracker()
        let playlist = live(first: 0, names: "abc", target: target)
        #expect(!tracker.take(playlist, loadedAt: time(0)).isLast)
        for load in loads {
            #expect(tracker.take(playlist, loadedAt: time(load)).isLast == (load >= end), "\(load)")
        }
    }

    @Test("names that keep their path, or times computed anew, are no new sequence")
    func identity() {
        var tracker = PlaylistTracker()
        var playlist = live(first: 0, names: "ab")
        _ = tracker.take(playlist, loadedAt: time(0))
        for index in playlist.segments.indices {
            let path = playlist.segments[index].url.path
            let other = url("https://other.test\(path)?token=new")
            playlist.segments[index].address = MediaReference(other)
        }
        #expect(!tracker.take(playlist, loadedAt: time(1)).isRestarted)
        for index in playlist.segments.indices {
            playlist.segments[index].programDateTime = "2026-02-19T14:54:23Z"
        }
        let update = tracker.take(playlist, loadedAt: time(2))
        #expect(!update.isRestarted && update.probe == nil)
    }

    @Test(
        "a window that slides without a change of its number is followed by its names",
        arguments: [
            ["abc", "abc", "bcd", "def", "def"], ["abc", "abcd", "bcde", "cdef"],
            ["abcd", "dabc", "xdab"],  // The other way round: nothing to follow.
        ]
    )
    func constantSequence(names: [String]) {
        var tracker = PlaylistTracker()
        var recorded: [String] = []
        for (index, window) in names.enumerated() {
            let update = tracker.take(live(first: 0, names: window), loadedAt: time(Double(index)))
            recorded += update.segments.map(\.url.lastPathComponent)
            #expect(!update.isRestarted || names.last == "xdab")
        }
        if names.last != "xdab" { #expect(recorded == "abcdef".map { "\($0).ts" }) }
    }

    /// What a segment's bytes are, when another load calls it otherwise: those of its letter, which follow its signature.
    private func probe(
        _ tracker: inout PlaylistTracker,
        _ playlist: MediaPlaylist,
        at seconds: Double
    ) -> PlaylistTracker.Update {
        let update = tracker.take(playlist, loadedAt: time(seconds))
        guard let segment = update.probe else { return update }
        let content = ContentHash(Array((segment.url.query ?? "").utf8))
        let probe = PlaylistTracker.Probe(number: segment.sequence, content: content)
        return tracker.take(playlist, loadedAt: time(seconds), probe: probe)
    }

    /// A playlist in which no name says anything: a signature for all, and the media in the query.
    private func signed(first: UInt64, _ media: String, by signature: String) -> MediaPlaylist {
        var playlist = live(first: first, names: media)
        for (index, letter) in media.enumerated() {
            let address = url("https://h.test/\(signature)\(index)?\(letter)")
            playlist.segments[index].address = MediaReference(address)
        }
        return playlist
    }

    @Test("a target far below what segments last ends no stream between two of them")
    func smallTarget() {
        var tracker = PlaylistTracker()
        var playlist = live(first: 0, names: "abc", target: 1)
        for index in playlist.segments.indices { playlist.segments[index].duration = .seconds(7) }
        for second in 0...20 {
            #expect(!tracker.take(playlist, loadedAt: time(Double(second))).isLast)
        }
        #expect(tracker.take(playlist, loadedAt: time(21)).isLast)
    }

    @Test("where names decide nothing, the bytes of one segment do")
    func contents() {
        var tracker = PlaylistTracker()
        func record(_ playlist: MediaPlaylist, at seconds: Double) -> (String, isRestarted: Bool) {
            let update = probe(&tracker, playlist, at: seconds)
            for segment in update.segments {
                tracker.recorded(
                    segment.sequence,
                    ContentHash(Array((segment.url.query ?? "").utf8))
                )
            }
            return (update.segments.map { $0.url.query ?? "" }.joined(), update.isRestarted)
        }
        #expect(record(signed(first: 5, "abc", by: "p"), at: 0) == ("abc", false))
        #expect(record(signed(first: 5, "abc", by: "q"), at: 1) == ("", false), "signed anew")
        #expect(record(signed(first: 6, "bcd", by: "r"), at: 2) == ("d", false))
        #expect(record(signed(first: 6, "bcd", by: "s"), at: 3) == ("", false))
        #expect(record(signed(first: 4, "xab", by: "t"), at: 4) == ("", false), "an old copy")
        #expect(
            record(signed(first: 1 << 40, "de", by: "u"), at: 5) == ("e", false),
            "the same, numbered anew"
        )
        #expect(record(signed(first: 1, "xyz", by: "v"), at: 6) == ("", false))
        #expect(
            record(signed(first: 2, "yzw", by: "w"), at: 7) == ("yzw", true),
            "another sequence, as it grows"
        )
    }

    @Test(
        "what left a new sequence before it was believed is missed; gaps before the first segment are not"
    )
    func missedAround() {
        var tracker = PlaylistTracker()
        let first = tracker.take(live(first: 50, names: "ABc"), loadedAt: time(0))
        #expect(first.missed == 0 && first.segments.map(\.sequence) == [52])
        #expect(tracker.take(live(first: 0, names: "pq"), loadedAt: time(1)).missed == 0)
        let reset = tracker.take(live(first: 1, names: "qr"), loadedAt: time(2))
        #expect(reset.isRestarted && reset.missed == 1 && reset.segments.map(\.sequence) == [1, 2])
    }

    @Test("a higher discontinuity sequence is evidence enough for a new sequence")
    func discontinuitySequence() {
        var tracker = PlaylistTracker()
        _ = tracker.take(live(first: 50, names: "abc"), loadedAt: time(0))
        var playlist = live(first: 0, names: "xy")
        playlist.discontinuitySequence = 1
        #expect(tracker.take(playlist, loadedAt: time(1)).isRestarted)
    }

    @Test(
        "behind another address, numbers that have been seen are no new sequence, whatever the names"
    )
    func moved() {
        var tracker = PlaylistTracker()
        _ = tracker.take(live(first: 5, names: "abc"), loadedAt: time(0))
        tracker.variantChanged()
        let same = tracker.take(live(first: 6, names: "xy"), loadedAt: time(1))
        #expect(same.segments.isEmpty && !same.isRestarted)
        let next = tracker.take(live(first: 6, names: "xyz"), loadedAt: time(2))
        #expect(next.segments.map(\.sequence) == [8] && !next.isRestarted)
        let other = tracker.take(live(first: 6, names: "pq"), loadedAt: time(3))
        #expect(other.isRestarted, "names count again once they are known")
    }

    @Test(
        "what passes while the stream is not wanted is not missed, and nothing comes twice",
        arguments: [
            (.start, 50, [50, 51, 52, 53, 54, 55]), (.start, 1, [3, 4, 5, 6]),
            (.live, 50, [53, 54, 55]), (.live, 1, [4, 5, 6]), (.live, 0, [3, 4, 5]),
        ] as [(StartPoint, UInt64, [UInt64])]
    )
    func left(from start: StartPoint, first: UInt64, fetched: [UInt64]) {
        var tracker = PlaylistTracker(from: start)
        _ = tracker.take(live(first: 0, names: "abc"), loadedAt: time(0))
        tracker.interrupted()
        let update = tracker.take(live(first: first, names: "abcdef"), loadedAt: time(9))
        #expect(update.segments.map(\.sequence) == fetched)
        #expect(update.missed == 0)
        let after = tracker.take(live(first: first + 9, names: "xyz"), loadedAt: time(10))
        #expect(after.missed == 3, "it is wanted again")
    }

    @Test("a break that was missed unseen is known by its count, and marks the next segment")
    func missedBreak() {
        var tracker = PlaylistTracker()
        _ = tracker.take(live(first: 0, names: "ab"), loadedAt: time(0))
        let plain = tracker.take(live(first: 4, names: "ef"), loadedAt: time(1))
        #expect(plain.segments.map(\.isDiscontinuous) == [false, false])
        var playlist = live(first: 9, names: "jk")
        playlist.discontinuitySequence = 1
        let broken = tracker.take(playlist, loadedAt: time(2))
        #expect(broken.segments.map(\.isDiscontinuous) == [true, false])
    }

    private func live(first: UInt64, names: String, target: Double = 2) -> MediaPlaylist {
        var playlist = MediaPlaylist(targetDuration: .seconds(target), mediaSequence: first)
        for (index, name) in names.enumerated() {
            playlist.segments.append(
                MediaSegment(
                    sequence: first + UInt64(index),
                    url: url("https://h.test/\(name.lowercased()).ts"),
                    duration: .seconds(target),
                    isGap: name.isUppercase
                )
            )
        }
        return playlist
    }

    private func url(_ text: String) -> URL { URL(string: text) ?? URL(filePath: "/") }

    private func time(_ seconds: Double) -> BootTime {
        BootTime(nanoseconds: 1_000_000_000).advanced(by: .seconds(seconds))
    }
}

@Suite("failed loads of a playlist")
struct HLSLoadFailureTests {
    private let gone = LoadError.fetch(.http(status: 404))
    private let down = LoadError.fetch(.network("no route"))

    @Test("pauses double up to the longest, and begin anew after a success")
    func pauses() {
        var failures = ReloadPolicy()
        for pause in [0.5, 1, 2, 4, 8, 8] {
            #expect(failures.failed(with: down, at: time(0)) == retry(at: pause))
        }
        failures.succeeded()
        #expect(failures.failed(with: down, at: time(0)) == retry(at: 0 + 0.5))
    }

    @Test("a server that asks for a longer pause gets it")
    func retryAfter() {
        var failures = ReloadPolicy()
        let busy = LoadError.fetch(.http(status: 429, retryAfter: .seconds(7)))
        #expect(failures.failed(with: busy, at: time(0)) == retry(at: 7))
        #expect(failures.failed(with: down, at: time(7)) == retry(at: 7 + 1))
    }

    @Test("three answers of 404 or 410 in a row end a stream that was there")
    func goneForGood() {
        var failures = ReloadPolicy()
        failures.succeeded()
        #expect(failures.failed(with: gone, at: time(0)) == retry(at: 0 + 0.5))
        #expect(failures.failed(with: down, at: time(1)) == retry(at: 1 + 1))
        #expect(failures.failed(with: gone, at: time(2)) == retry(at: 2 + 2))
        #expect(failures.failed(with: .fetch(.http(status: 410)), at: time(3)) == retry(at: 3 + 4))
        #expect(failures.failed(with: gone, at: time(4)) == .over)
    }

    @Test("patience has an end, a shorter one before the first playlist")
    func patience() {
        var failures = ReloadPolicy()
        #expect(failures.failed(with: gone, at: time(0)) == retry(at: 0 + 0.5))
        #expect(failures.failed(with: gone, at: time(20)) == .giveUp)
        failures.succeeded()
        #expect(failures.failed(with: down, at: time(100)) == retry(at: 100 + 0.5))
        #expect(failures.failed(with: down, at: time(159)) == retry(at: 159 + 1))
        #expect(failures.failed(with: down, at: time(160)) == .giveUp)
    }

    @Test("what is not supported is not tried again")
    func unsupported() {
        var failures = ReloadPolicy()
        let error = PlaylistError(line: 3, reason: .unsupported(.encryption))
        #expect(failures.failed(with: .playlist(error), at: time(0)) == .giveUp)
    }

    private func retry(at seconds: Double) -> ReloadPolicy.Action { .retry(at: time(seconds)) }

    private func time(_ seconds: Double) -> BootTime {
        BootTime(nanoseconds: 1_000_000_000).advanced(by: .seconds(seconds))
    }
}
