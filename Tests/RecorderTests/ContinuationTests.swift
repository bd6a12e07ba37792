import Posix
import Testing

@testable import Catalogue
@testable import Media
@testable import Recorder

@Suite("Recordings that go on")
struct ContinuationTests {
    private let directory = FilesDirectory()

    private func seconds(_ count: Int) -> UTCTime { UTCTime(filesStart).advanced(by: count) }

    @Test(
        "the last recording of a stream goes on when it was cut short within the window",
        arguments: [
            (.interrupted, 60, true), (.failed, 60, true), (.interrupted, 660, true),
            (.interrupted, 661, false), (.completed, 60, false), (.abandoned, 60, false),
        ] as [(CatalogueRecording.Status, Int, Bool)]
    )
    func window(_ status: CatalogueRecording.Status, _ later: Int, _ goesOn: Bool) throws {
        let catalogue = try Catalogue(path: "\(directory.path)/c.sqlite")
        let id = try catalogue.start(catalogueEntry("/r/a.ts.part"))
        try catalogue.end(id, status)
        let resumableRecordings = ResumableRecordings(within: .seconds(600))
        for one in try catalogue.resumableRecordings() { resumableRecordings.add(one) }
        let found = resumableRecordings.find("cam", at: seconds(later))
        #expect((found != nil) == goesOn)
        if let found {
            #expect(found.recordingID == id && found.nextPart == 2)
            #expect(found.startedAt == seconds(0) && found.endedAt == seconds(60))
        }
    }

    @Test("an older recording does not go on past a newer one of its stream")
    func newest() throws {
        let catalogue = try Catalogue(path: "\(directory.path)/c.sqlite")
        let first = try catalogue.start(catalogueEntry("/r/a.ts.part"))
        let second = try catalogue.start(catalogueEntry("/r/b.ts.part"))
        try catalogue.end(first, .interrupted)
        try catalogue.end(second, .completed)
        #expect(try catalogue.resumableRecordings().isEmpty)
    }

    @Test("a recording that is complete, or has too many parts, does not go on")
    func ends() {
        let resumableRecordings = ResumableRecordings(within: .seconds(600))
        func add(part: Int) {
            resumableRecordings.add(
                ResumableRecording(
                    recordingID: 1,
                    stream: "cam",
                    startedAt: seconds(0),
                    endedAt: seconds(60),
                    nextPart: part
                )
            )
        }
        add(part: 999)
        #expect(resumableRecordings.find("cam", at: seconds(60)) != nil)
        add(part: 1000)
        #expect(resumableRecordings.find("cam", at: seconds(60)) == nil)
        add(part: 2)
        resumableRecordings.remove("cam")
        #expect(resumableRecordings.find("cam", at: seconds(60)) == nil)
    }

    @Test("a recording that has lasted long enough does not go on")
    func lastedLongEnough() {
        let resumableRecordings = ResumableRecordings(within: .seconds(600))
        resumableRecordings.add(
            ResumableRecording(
                recordingID: 1,
                stream: "cam",
                startedAt: seconds(0),
                endedAt: seconds(60),
                nextPart: 2
            )
        )
        func find(_ now: Int, _ limit: Duration) -> ResumableRecording? {
            resumableRecordings.find("cam", at: seconds(now), lastingLessThan: limit)
        }
        #expect(find(89, .seconds(90)) != nil)
        #expect(find(90, .seconds(90)) == nil)
    }

    @Test(
        "the names of a recording's parts stand in their order, before the next recording's",
        arguments: [
            (1, "cam-20261123T104500Z"), (2, "cam-20261123T104500Z_part002"),
            (31, "cam-20261123T104500Z_part031"), (999, "cam-20261123T104500Z_part999"),
        ]
    )
    func names(_ part: Int, _ stem: String) {
        func name(_ part: Int, at start: UTCTime = UTCTime(filesStart)) -> RecordingName {
            RecordingName(
                directory: "/r",
                stream: "cam",
                startedAt: start,
                part: part,
                container: .mpegTS
            )
        }
        #expect(name(part).stem == stem)
        #expect(name(part).finalPath < name(part + 1).finalPath || part == 999)
        #expect(name(part).finalPath < name(1, at: seconds(1)).finalPath)
    }

    @Test(
        "a time of the calendar is read as it is written, and nothing else",
        arguments: [
            ("2026-11-23T10:45:00Z", true), ("1970-01-01T00:00:00Z", true),
            ("2028-02-29T23:59:59Z", true), ("2026-02-29T10:45:00Z", false),
            ("2026-11-23T10:45:00", false), ("2026-11-23 10:45:00Z", false), ("", false),
            ("2026-11-23T10:45:60Z", false), ("99999999999-11-23T10:45:60Z", false),
        ]
    )
    func calendar(_ text: String, _ isOne: Bool) {
        #expect(UTCTime(iso8601: text)?.iso8601 == (isOne ? text : nil))
    }
}
