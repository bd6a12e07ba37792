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
        "reload one target after a change, half of it otherwise, never below the minReloadInterval",
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

    @Test("segments are recognised by path and time, not by host or query")
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
        #expect(tracker.take(playlist, loadedAt: time(2)).isRestarted)
    }

    @Test(
        "behind another address, numbers that have been seen are no new sequence, whatever the names"
    )
    func variantChanged() {
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

    @Test("timeout has an end, a shorter one before the first playlist")
    func timeout() {
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
