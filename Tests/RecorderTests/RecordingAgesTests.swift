import Posix
import Testing

@testable import Catalogue
@testable import Media
@testable import Recorder

@Suite("Ages and order of recordings, whatever the clock does")
struct RecordingAgesTests {
    private static let now = UTCTime(filesStart)
    private static let year = 365 * 86_400

    /// Starts and ends, in seconds from now, of recordings in the order of their ids; what is in 1970 is `nil`.
    private func ages(
        _ times: [(start: Int?, end: Int?)],
        at now: UTCTime? = Self.now
    ) -> [Duration?] {
        let recordings = times.enumerated().map { index, times in
            func time(_ seconds: Int?) -> UTCTime {
                seconds.map { Self.now.advanced(by: $0) } ?? UTCTime(seconds: 30 + index)
            }
            return recording(Int64(index + 1), time(times.start), time(times.end))
        }
        let ages = RecordingAges(of: recordings.reversed(), at: now, nil)
        return recordings.map { ages[$0] }
    }

    private func recording(
        _ id: Int64,
        _ start: UTCTime,
        _ end: UTCTime?,
        _ endedBoot: BootStamp? = nil
    ) -> CatalogueRecording {
        CatalogueRecording(
            id: id,
            stream: "cam",
            title: nil,
            status: .completed,
            startedAt: start,
            endedAt: end,
            endedBoot: endedBoot,
            failureReason: nil
        )
    }

    @Test("with a good clock, the age is the time since the end")
    func plain() {
        #expect(
            ages([(-300, -200), (-250, -10), (-20, -20)]) == [
                .seconds(200), .seconds(10), .seconds(20),
            ]
        )
    }

    @Test("a clock that was not set makes no recording old: it ended when the next one began")
    func unset() {
        #expect(
            ages([(-300, -200), (nil, nil), (-50, -40)]) == [
                .seconds(200), .seconds(50), .seconds(40),
            ]
        )
        #expect(ages([(-300, -200), (nil, nil)]) == [.seconds(200), .zero])
        // It began before the clock was set, and ended after.
        #expect(ages([(nil, -40)]) == [.seconds(40)])
    }

    @Test("a clock that was set back makes no recording older than those before it")
    func setBack() {
        #expect(
            ages([(-300, -200), (-Self.year / 2, -Self.year / 2 + 10), (-50, -40)]) == [
                .seconds(200), .seconds(300), .seconds(40),
            ]
        )
    }

    @Test("a clock that was ahead makes no recording younger than those after it")
    func ahead() {
        #expect(
            ages([(-300, -200), (Self.year, Self.year + 10), (-50, -40)]) == [
                .seconds(200), .seconds(50), .seconds(40),
            ]
        )
    }

    @Test("while the clock was never set, no age is known but those of this boot")
    func unknown() {
        #expect(ages([(-300, -200), (nil, nil)], at: nil) == [nil, nil])
    }

    @Test("the boot's clock decides where it can, wherever the calendar stands")
    func boot() {
        let boot = BootStamp(boot: "a", time: BootTime(nanoseconds: 100_000_000_000))
        for now in [Self.now, Self.now.advanced(by: Self.year), nil] {
            let recordings = [
                recording(
                    1,
                    UTCTime(seconds: 5),
                    UTCTime(seconds: 6),
                    BootStamp(boot: "a", time: BootTime(nanoseconds: 40_000_000_000))
                ),
                recording(
                    2,
                    UTCTime(seconds: 5),
                    Self.now,
                    BootStamp(boot: "a", time: BootTime(nanoseconds: .max))
                ),
            ]
            let ages = RecordingAges(of: recordings, at: now, boot)
            #expect(recordings.map { ages[$0] } == [.seconds(60), .zero])
        }
    }

    @Test("a clock that is a year ahead when a host starts makes the recordings before no older")
    func aheadFromTheStart() {
        let earlier = [
            recording(1, Self.now.advanced(by: -900), Self.now.advanced(by: -600)),
            recording(2, Self.now.advanced(by: -500), Self.now),
        ]
        var clock = SteadyClock(lastSeenIn: earlier)
        let wrong = Self.now.advanced(by: Self.year)
        let boot = BootTime.now()
        let first = clock.read(wrong, at: boot)
        #expect(first.map { (0...1).contains($0.seconds - Self.now.seconds) } == true)
        #expect(clock.isAhead)
        let later = boot.advanced(by: .seconds(86_401))
        #expect(
            clock.read(wrong.advanced(by: 86_401), at: later)?.seconds == wrong.seconds + 86_401
        )
    }

    @Test(
        "a step of the clock forward removes nothing, until it has lasted for a day; one back makes nothing older"
    )
    func steady() {
        func boot(_ seconds: Int) -> BootTime {
            BootTime(nanoseconds: UInt64(seconds) * 1_000_000_000)
        }
        var clock = SteadyClock()
        func read(_ wall: Int, _ seconds: Int) -> Int? {
            clock.read(Self.now.advanced(by: wall), at: boot(seconds)).map {
                $0.seconds - Self.now.seconds
            }
        }
        #expect(clock.read(UTCTime(seconds: 5), at: boot(5)) == nil, "1970")
        #expect(read(0, 100) == 0)
        #expect(read(65, 160) == 65, "a correction")
        #expect(read(Self.year, 220) == 125, "forward")
        #expect(read(Self.year + 60, 280) == 185)
        #expect(clock.isAhead)
        #expect(read(245, 340) == 245, "and back")
        #expect(!clock.isAhead)
        #expect(read(-Self.year / 2, 400) == -Self.year / 2, "set back")
        #expect(read(365, 460) == 365, "and forward again")
        #expect(clock.read(UTCTime(seconds: 9), at: boot(520))?.seconds == Self.now.seconds + 425)
        #expect(read(Self.year, 580) == 485)
        #expect(read(Self.year + 86_400, 580 + 86_400) == Self.year + 86_400, "a day later")
    }

    @Test("hostile times are no traps")
    func hostile() {
        let extremes = [Int.min, -1, 0, 1, Int.max].map { UTCTime(seconds: $0) }
        for start in extremes {
            for end in extremes {
                for now in extremes {
                    let one = recording(.max, start, end)
                    let ages = RecordingAges(of: [one, recording(.min, end, start)], at: now, nil)
                    #expect(ages[one] ?? .zero >= .zero)
                    var clock = SteadyClock(wall: start, at: BootTime(nanoseconds: .max))
                    _ = clock.read(end, at: BootTime(nanoseconds: 0))
                    _ = clock.read(now, at: BootTime(nanoseconds: .max))
                }
            }
        }
    }

    @Test("ids follow on those of the catalogue, also in 1970, and after a clock that was ahead")
    func ids() throws {
        let directory = FilesDirectory()
        let path = "\(directory.path)/c.sqlite"
        func firstIDs(at now: WallTime) throws -> [Int64] {
            let journal = try CatalogueJournal(try Catalogue(path: path), Log())
            let ids = [journal.newRecordingID(at: now), journal.newRecordingID(at: now)]
            for id in ids {
                var entry = catalogueEntry("/r/\(id).ts.part")
                entry.recordingID = id
                journal.append(.partStarted(entry))
            }
            try journal.close(until: BootTime.now().advanced(by: .seconds(30)))
            return ids
        }
        let times = [
            filesStart, WallTime(nanoseconds: 5_000_000_000), WallTime(nanoseconds: .max),
            filesStart,
        ]
        let ids = try times.flatMap { try firstIDs(at: $0) }
        #expect(ids == ids.sorted() && Set(ids).count == ids.count)
    }

    @Test("a recording of 1970 that is entered by its name is not the oldest")
    func adoption() throws {
        let directory = FilesDirectory()
        let catalogue = try Catalogue(path: "\(directory.path)/c.sqlite")
        func adopt(_ start: UTCTime, written: UTCTime) throws -> Int64 {
            let name = RecordingName(
                directory: "/r",
                stream: "cam",
                startedAt: start,
                part: 1,
                container: .mpegTS
            )
            try catalogue.add(UnlistedRecording(name: name, bytes: 1, lastWrittenAt: written))
            return try #require(try catalogue.all().first { $0.startedAt == start }).id
        }
        let old = try adopt(Self.now, written: Self.now)
        let early = UTCTime(seconds: 5)
        let ids = [
            try adopt(early, written: early), try adopt(early.advanced(by: 1), written: early),
            try adopt(early.advanced(by: 2), written: Self.now.advanced(by: 100)),
        ]
        #expect(ids.allSatisfy { $0 > old } && Set(ids).count == 3)
    }

    @Test("a recording goes on by the clock of the boot, whatever the calendar says")
    func goingOn() {
        let resumableRecordings = ResumableRecordings(within: .seconds(600))
        func boot(_ seconds: UInt64) -> BootStamp {
            BootStamp(boot: "a", time: BootTime(nanoseconds: seconds * 1_000_000_000))
        }
        resumableRecordings.add(
            ResumableRecording(
                recordingID: 1,
                stream: "cam",
                startedAt: UTCTime(seconds: 5),
                endedAt: UTCTime(seconds: 60),
                endedBoot: boot(60),
                nextPart: 2
            )
        )
        #expect(resumableRecordings.find("cam", at: Self.now, boot(100)) != nil)
        #expect(resumableRecordings.find("cam", at: UTCTime(seconds: 61), boot(1000)) == nil)
        let other = BootStamp(boot: "b", time: BootTime(nanoseconds: 5))
        #expect(resumableRecordings.find("cam", at: UTCTime(seconds: 61), other) != nil)
        #expect(resumableRecordings.find("cam", at: Self.now, other) == nil)
    }
}
