import Posix
import Testing

@testable import Catalogue
@testable import Media
@testable import Recorder

@Suite("Recordings that the catalogue does not know", .timeLimit(.minutes(5)))
struct CatalogueAdoptionTests {
    private let directory = FilesDirectory()

    private func found(_ name: String) throws -> UnlistedRecording {
        UnlistedRecording(
            name: try #require(RecordingName(finalName: name, in: "/r")),
            bytes: 188,
            lastWrittenAt: UTCTime(filesStart).advanced(by: 60)
        )
    }

    @Test(
        "a name says the stream, the start and the part, and a name of another form nothing",
        arguments: [
            ("cam-20261123T104500Z.ts", "cam", 1), ("cam-20261123T104500Z_part002.ts", "cam", 2),
            ("a-b-1-20261123T104500Z-2.mp4", "a-b-1", 1),
            ("cam-20261123T104500Z_part031-4.ts", "cam", 31),
            ("cam-20261123T104500Z_part1000.ts", "cam", 1000),
            ("cam-20261323T104500Z.ts", nil, 0), ("20261123T104500Z.ts", nil, 0),
            ("cam-20261123T104500Z.mkv", nil, 0), ("cam-20261123T104500Z_part2.ts", nil, 0),
            ("cam-20261123T104500Z_part1234567.ts", nil, 0),
            ("cam-20261123T104500Z-12345.ts", nil, 0), ("cam-20261123T104500Z-.ts", nil, 0),
            ("cam-20261123T104500Z_part002-2-3.ts", nil, 0), ("-20261123T104500Z.ts", nil, 0),
            ("cam-20261123T10450٠Z.ts", nil, 0), ("cam-20261123T1045\u{65}0Z.ts", nil, 0),
            ("cam_20261123T104500Z.ts", nil, 0), ("cam-20260230T104500Z.ts", nil, 0),
            ("Straße-20261123T104500Z.ts", nil, 0), ("holiday.ts", nil, 0), (".ts", nil, 0),
            ("cam-20261123T104500Z-1.ts", nil, 0), ("cam-20261123T104500Z_part001.ts", nil, 0),
            ("cam-20261123T104500Z_part0002.ts", nil, 0), ("Cam-20261123T104500Z.ts", nil, 0),
            ("cam-20261123T104500Z-02.ts", nil, 0), ("cam--20261123T104500Z.ts", nil, 0),
        ] as [(String, String?, Int)]
    )
    func names(_ name: String, _ stream: String?, _ part: Int) {
        let parts = RecordingName(finalName: name, in: "/r")?.parts
        #expect(parts?.stream == stream)
        if let parts { #expect(parts.part == part && parts.startedAt == UTCTime(filesStart)) }
    }

    @Test("parts of one recording become one recording, and streams of one second do not")
    func adoption() throws {
        let catalogue = try Catalogue(path: "\(directory.path)/c.sqlite")
        let names = [
            "cam-20261123T104500Z.ts", "cam-20261123T104500Z_part002.ts",
            "yard-20261123T104500Z.ts",
        ]
        for name in names { try catalogue.add(found(name)) }
        let all = try catalogue.all()
        #expect(all.map(\.stream) == ["cam", "yard"])
        #expect(all.map { $0.parts.map(\.number) } == [[1, 2], [1]])
        #expect(all.allSatisfy { $0.status == .interrupted && $0.startedAt == UTCTime(filesStart) })
        #expect(try catalogue.listedFileNames() == Set(names))
        #expect(try catalogue.resumableRecordings().count == 2)
    }

    @Test("a part that was missing leaves its recording as it ended")
    func missingPart() throws {
        let catalogue = try Catalogue(path: "\(directory.path)/c.sqlite")
        let id = try catalogue.start(catalogueEntry("/r/cam-20261123T104500Z.ts.part"))
        try catalogue.end(id, .completed, path: "/r/cam-20261123T104500Z.ts")
        try catalogue.add(found("cam-20261123T104500Z_part002.ts"))
        let all = try catalogue.all()
        #expect(all.count == 1 && all[0].status == .completed && all[0].parts.count == 2)
        try catalogue.add(found("cam-20261123T104500Z_part002-2.ts"))
        #expect(try catalogue.all()[0].parts.map(\.number) == [1, 2, 3])
    }
}
