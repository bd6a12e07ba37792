import Foundation
import Glibc
import Posix
import Testing

@testable import Catalogue
@testable import Media
@testable import Recorder

@Suite("Catalogue and recovery", .timeLimit(.minutes(5)))
struct CatalogueRecoveryTests {
    private let directory = FilesDirectory()

    private func path(_ name: String) -> String { "\(directory.path)/\(name)" }

    @Test("rows of a dead run get the outcome of their files")
    func outcomes() throws {
        let catalogue = try Catalogue(path: path("c.sqlite"))
        try directory.write(filesPackets(0..<3), to: "a-\(filesTime).ts.part")
        try directory.write(filesPackets(0..<2) + [1], to: "b-\(filesTime).ts.part")
        try directory.write([], to: "c-\(filesTime).ts.part")
        mkdir(path("d-\(filesTime).ts.part"), 0o755)
        try directory.write(filesPackets(0..<4), to: "e-\(filesTime).ts")
        let names = ["a", "b", "c", "d", "e", "f"]
        for name in names {
            // As entered when the directory was mounted elsewhere, but for the two that have no part file.
            let place = name < "e" ? "/elsewhere" : directory.path
            _ = try catalogue.start(catalogueEntry("\(place)/\(name)-\(filesTime).ts.part"))
        }
        let files = try Recovery(directory: directory.path).run()
        let changed = try catalogue.recoverUnfinished(
            files,
            in: directory.path,
            at: UTCTime(filesStart)
        )
        #expect(
            changed.map(\.status)
                == [.interrupted, .interrupted, .failed, .failed, .interrupted, .failed]
        )
        #expect(changed.map(\.bytes) == [564, 376, 0, 0, 752, 0])
        #expect(changed[0].parts[0].path == path("a-\(filesTime).ts"))
        #expect(changed[4].parts[0].path == path("e-\(filesTime).ts"))
        #expect(
            changed.map(\.failureReason) == [nil, nil, "invalid_media", "other", nil, "other"]
        )
        #expect(changed[4].endedAt == UTCTime(filesStart))
        #expect(try catalogue.active().isEmpty)
        #expect(
            try catalogue.recoverUnfinished(
                Recovery(directory: directory.path).run(),
                in: directory.path
            ).count == 1
        )
    }

    @Test("what failed or was abandoned becomes interrupted once its file is recovered")
    func later() throws {
        let catalogue = try Catalogue(path: path("c.sqlite"))
        for name in ["a", "b"] {
            let part = try directory.write(filesPackets(0..<1), to: "\(name)-\(filesTime).ts.part")
            let id = try catalogue.start(catalogueEntry(part))
            try catalogue.end(
                id,
                name == "a" ? .failed : .abandoned,
                path: part,
                reason: "file_locked"
            )
        }
        #expect(
            try catalogue.recoverUnfinished([], in: directory.path).map(\.status) == [.failed]
        )
        let files = try Recovery(directory: directory.path).run()
        let changed = try catalogue.recoverUnfinished(files, in: directory.path)
        #expect(changed.map(\.status) == [.interrupted, .interrupted])
        #expect(changed.map(\.failureReason) == [nil, nil])
        #expect(
            changed.flatMap(\.parts).map(\.path) == [
                path("a-\(filesTime).ts"), path("b-\(filesTime).ts"),
            ]
        )
    }

    @Test("a row with a name that no recorder gives gets no file: retention would remove that")
    func foreignName() throws {
        let catalogue = try Catalogue(path: path("c.sqlite"))
        try directory.write(filesPackets(0..<1), to: "holiday.ts")
        try directory.write(filesPackets(0..<1), to: "target")
        symlink("target", path("\(filesStem).ts"))
        for name in ["holiday", filesStem] {
            _ = try catalogue.start(catalogueEntry(path("\(name).ts.part")))
        }
        let changed = try catalogue.recoverUnfinished([], in: directory.path)
        #expect(changed.map(\.status) == [.failed, .failed])
        #expect(changed.flatMap(\.parts).allSatisfy { $0.path.hasSuffix(".ts.part") })
    }

    @Test("the row of a recording that another recorder is making is left alone")
    func living() throws {
        let catalogue = try Catalogue(path: path("c.sqlite"))
        let part = try filesPart(in: directory.path)
        let id = try catalogue.start(catalogueEntry(part.name.partPath))
        let files = try Recovery(directory: directory.path).run()
        #expect(try catalogue.recoverUnfinished(files, in: directory.path).isEmpty)
        #expect(try catalogue.active().map(\.id) == [id])
        _ = try part.finish()
    }
}
