import Foundation
import Posix
import TelemetryStage
import Testing

@testable import Exporter
@testable import StreamVaultTelemetry

@Suite("The recorders of a directory", .timeLimit(.minutes(5)))
struct RecorderDirectoryTests {
    private let files: TelemetryDirectory

    init() throws {
        files = try TelemetryDirectory()
    }

    private func names(_ directory: inout RecorderDirectory) -> [String] {
        directory.read().map(\.name)
    }

    /// Reads as it would be read some seconds later, when all that is checked once a second has been checked.
    private func readLater(_ directory: inout RecorderDirectory) -> [KnownRecorder] {
        _ = directory.read(at: .now().advanced(by: .seconds(2)))
        return directory.read(at: .now().advanced(by: .seconds(4)))
    }

    /// Makes it long ago that a file came or went.
    private func letRest() throws {
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSinceNow: -60)],
            ofItemAtPath: files.path
        )
    }

    /// Those of the directory whose telemetry is there.
    private func visible(_ directory: inout RecorderDirectory) -> [String] {
        directory.read().filter { $0.failure != .missing }.map(\.name)
    }

    @Test(
        "they come with their files, and stay as missing without them; a missing directory has none"
    )
    func comingAndGoing() throws {
        var directory = RecorderDirectory(path: files.path)
        #expect(names(&directory) == [])
        let first = try files.publisher("one")
        #expect(names(&directory) == ["one"])
        let second = try files.publisher("another")
        #expect(names(&directory) == ["another", "one"])
        try FileManager.default.removeItem(atPath: files.file("one"))
        #expect(visible(&directory) == ["another"])
        #expect(names(&directory) == ["another", "one"])
        withExtendedLifetime((first, second)) {}
        var missing = RecorderDirectory(path: files.path + "/nowhere")
        #expect(names(&missing) == [])
    }

    @Test("a directory that was removed, and is there again, is another one")
    func newDirectory() throws {
        var directory = RecorderDirectory(path: files.path)
        let first = try files.publisher("one")
        #expect(names(&directory) == ["one"])
        try FileManager.default.removeItem(atPath: files.path)
        #expect(visible(&directory) == [])
        try FileManager.default.createDirectory(
            atPath: files.path,
            withIntermediateDirectories: false
        )
        let second = try files.publisher("another")
        #expect(visible(&directory) == ["another"])
        withExtendedLifetime((first, second)) {}
    }

    @Test("another directory at the path is noticed, if a second late")
    func exchangedDirectory() throws {
        var directory = RecorderDirectory(path: files.path)
        let first = try files.publisher("one")
        try letRest()
        #expect(names(&directory) == ["one"])
        let aside = files.path + "-aside"
        try FileManager.default.moveItem(atPath: files.path, toPath: aside)
        defer { try? FileManager.default.removeItem(atPath: aside) }
        try FileManager.default.createDirectory(
            atPath: files.path,
            withIntermediateDirectories: false
        )
        #expect(readLater(&directory).allSatisfy { $0.failure == .missing })
        withExtendedLifetime(first) {}
    }

    @Test("the next run is read from its own file, also when the directory had been at rest")
    func nextRun() throws {
        var directory = RecorderDirectory(path: files.path)
        func runID() throws -> [UInt8] {
            try #require(directory.read().first?.snapshot).contents.identity.runID
        }
        var publisher: Publisher? = try files.publisher()
        try letRest()
        let first = try runID()
        #expect(try runID() == first)
        publisher = nil
        publisher = try files.publisher()
        #expect(try runID() != first)
        withExtendedLifetime(publisher) {}
    }

    @Test(
        "a segment that becomes unreadable: recorder_up 0, counted, and the last good values stay"
    )
    func blindness() throws {
        var directory = RecorderDirectory(path: files.path)
        let publisher = try files.publisher()
        publisher.counter("x_total", "X.").add(5)
        #expect(directory.read()[0].failure == nil)
        try Data("no segment".utf8).write(to: URL(fileURLWithPath: files.file("cam")))

        let known = directory.read()[0]
        #expect(known.failure == .truncated)
        #expect(directory.readErrors == ["truncated": 1])
        var page = TextPage(.prometheus)
        let text = String(
            decoding: page.render([MetricSource(known, hidden: .init())]),
            as: UTF8.self
        )
        #expect(text.contains("streamvault_recorder_up{recorder=\"cam\"} 0\n"))
        #expect(text.contains("x_total{recorder=\"cam\"} 5\n"))
    }

    @Test(
        "a directory that cannot be listed any more: counted, and what is known of its recorders stays"
    )
    func unlistable() throws {
        let link = files.path + "-link"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: files.path)
        defer { try? FileManager.default.removeItem(atPath: link) }
        var directory = RecorderDirectory(path: link)
        let publisher = try files.publisher()
        publisher.counter("x_total", "X.").add(5)
        #expect(names(&directory) == ["cam"])
        try FileManager.default.removeItem(atPath: link)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: link)
        // One that is at rest is not listed again.
        let changed: [FileAttributeKey: Any] = [.modificationDate: Date()]
        try FileManager.default.setAttributes(changed, ofItemAtPath: files.path)

        let known = try #require(directory.read().first)
        #expect(directory.readErrors == ["unreadable": 2], "the directory, and the segment")
        var page = TextPage(.prometheus)
        let text = String(
            decoding: page.render([MetricSource(known, hidden: .init())]),
            as: UTF8.self
        )
        #expect(text.contains("x_total{recorder=\"cam\"} 5\n"))
        try FileManager.default.removeItem(atPath: link)
        #expect(visible(&directory) == [])
    }

    @Test("a segment that was never readable is shown as recorder_up 0")
    func neverRead() throws {
        try Data("no segment".utf8).write(to: URL(fileURLWithPath: files.file("cam")))
        var directory = RecorderDirectory(path: files.path)
        var page = TextPage(.prometheus)
        let text = String(
            decoding: page.render(directory.sources()),
            as: UTF8.self
        )
        #expect(text.hasSuffix("streamvault_recorder_up{recorder=\"cam\"} 0\n"))
    }

    @Test("a copy under another name is refused: it would show every series twice")
    func copies() throws {
        let publisher = try files.publisher()
        try FileManager.default.copyItem(atPath: files.file("cam"), toPath: files.file("copy"))
        var directory = RecorderDirectory(path: files.path)
        let failures = directory.read().map { ($0.name, $0.failure) }
        #expect(failures[0] == ("cam", nil))
        #expect(failures[1] == ("copy", .damaged(.header)))
        withExtendedLifetime(publisher) {}
    }

    @Test(
        "a recorder that was seen is kept for as long as it says, and then the exporter still knows of it"
    )
    func forgetting() throws {
        var directory = RecorderDirectory(path: files.path)
        let publisher = try files.publisher()
        let start = BootTime.now()
        #expect(!directory.hasSeenRecorder)
        #expect(directory.read(at: start).count == 1)
        try FileManager.default.removeItem(atPath: files.path)
        #expect(directory.read(at: start.advanced(by: .seconds(2)))[0].failure == .missing)
        #expect(directory.read(at: start.advanced(by: .seconds(3600)))[0].failure == .missing)
        #expect(directory.read(at: start.advanced(by: .seconds(3603))).isEmpty)
        #expect(directory.hasSeenRecorder)
        let report = HealthReport(
            [],
            hasSeenRecorder: directory.hasSeenRecorder,
            uptime: .seconds(4000),
            HealthPolicy()
        )
        #expect(report.httpStatus == 200 && report.noRecorderReason.contains("removed"))
        withExtendedLifetime(publisher) {}
    }

    @Test("a recorder whose file comes back is read again")
    func comingBack() throws {
        var directory = RecorderDirectory(path: files.path)
        let first = try files.publisher()
        _ = directory.read()
        let aside = files.path + "-aside"
        try FileManager.default.moveItem(atPath: files.file("cam"), toPath: aside)
        #expect(directory.read()[0].failure == .missing)
        #expect(directory.read()[0].failure == .missing)
        try FileManager.default.moveItem(atPath: aside, toPath: files.file("cam"))
        #expect(directory.read()[0].failure == nil)
        #expect(directory.readErrors == ["missing": 2])
        withExtendedLifetime(first) {}
    }

    @Test("more recorders than are read: those seen first stay, the others are counted")
    func tooMany() throws {
        var bounds = RecorderDirectory.Bounds()
        (bounds.recorders, bounds.republishTimeout) = (2, .zero)
        var directory = RecorderDirectory(path: files.path, bounds: bounds)
        let first = [try files.publisher("m"), try files.publisher("n")]
        #expect(names(&directory) == ["m", "n"])
        let late = [try files.publisher("a"), try files.publisher("z")]
        #expect(names(&directory) == ["m", "n"])
        #expect(directory.excess == 2)
        #expect(directory.readErrors == ["too_many": 2])
        // One whose file is gone makes room.
        try FileManager.default.removeItem(atPath: files.file("m"))
        #expect(readLater(&directory).map(\.name) == ["a", "n"])
        withExtendedLifetime((first, late)) {}
    }

    @Test("files that can never be read make room for a recorder")
    func junk() throws {
        for name in ["a", "b"] {
            try Data("no segment".utf8).write(to: URL(fileURLWithPath: files.file(name)))
        }
        var bounds = RecorderDirectory.Bounds()
        bounds.recorders = 2
        var directory = RecorderDirectory(path: files.path, bounds: bounds)
        #expect(names(&directory) == ["a", "b"])
        let recorder = try files.publisher("cam")
        #expect(readLater(&directory).contains { $0.name == "cam" })
        #expect(directory.excess == 1)
        withExtendedLifetime(recorder) {}
    }

    @Test("a directory with more entries than are read: what is known stays")
    func manyEntries() throws {
        var bounds = RecorderDirectory.Bounds()
        bounds.entries = 3
        var directory = RecorderDirectory(path: files.path, bounds: bounds)
        let recorder = try files.publisher()
        #expect(names(&directory) == ["cam"])
        for number in 0..<20 {
            try Data().write(to: URL(fileURLWithPath: "\(files.path)/x\(number)"))
        }
        let known = directory.read()
        #expect(known.contains { $0.name == "cam" && $0.failure == nil })
        #expect(directory.readErrors["too_many"] == 1)
        withExtendedLifetime(recorder) {}
    }

    @Test("memory is bounded over all segments: those seen first stay, the others are counted")
    func memory() throws {
        var bounds = RecorderDirectory.Bounds()
        bounds.memory = 200_000
        var directory = RecorderDirectory(path: files.path, bounds: bounds)
        let small = try files.publisher("small")
        #expect(directory.read().map(\.failure) == [nil])
        let large = try files.publisher("large")
        for number in 0..<400 {
            large.counter("x_total", "X.", labels: ["number": "\(number)", "of": "400"]).add(1)
        }
        #expect(directory.read().map(\.failure) == [.noRoom, nil])
        let errors = directory.readErrors
        #expect(errors == ["no_room": 1])
        // It is not read again at each look.
        #expect(directory.read().map(\.failure) == [.noRoom, nil])
        withExtendedLifetime((small, large)) {}
    }

    @Test("segments that are slow to read take turns, and hold up no others")
    func slowReads() throws {
        var bounds = RecorderDirectory.Bounds()
        (bounds.slowRead, bounds.slowReads) = (.zero, .nanoseconds(1))
        var directory = RecorderDirectory(path: files.path, bounds: bounds)
        var publishers = try ["a", "b", "c"].map { try files.publisher($0) }
        // Each look has time for one at most: those that were read are known, the others are still to come.
        var looks = 0
        while directory.read().contains(where: { !$0.wasRead }) {
            looks += 1
            #expect(looks < 1000)
        }
        // The next run of one that was passed over is found although the directory has come to rest.
        publishers.removeAll()
        publishers = try ["a", "b", "c"].map { try files.publisher($0) }
        try letRest()
        let runs = try ["a", "b", "c"].map { name in
            var reader = SegmentReader(path: files.file(name))
            return try reader.snapshot().contents.identity.runID
        }
        while directory.read().map({ $0.snapshot?.contents.identity.runID }) != runs {
            looks += 1
            #expect(looks < 2000)
        }
        withExtendedLifetime(publishers) {}
    }

    @Test("what is known of a recorder whose file is gone gives way to others")
    func missingGivesWay() throws {
        var bounds = RecorderDirectory.Bounds()
        var first: Publisher? = try files.publisher("first")
        var reader = SegmentReader(path: files.file("first"))
        bounds.memory = try reader.snapshot().cost * 3 / 2
        var directory = RecorderDirectory(path: files.path, bounds: bounds)
        let start = BootTime.now()
        #expect(directory.read(at: start).map(\.failure) == [nil])
        try FileManager.default.removeItem(atPath: files.file("first"))
        first = nil
        let second = try files.publisher("second")
        // For a minute it may publish again, and nobody takes its place.
        #expect(directory.read(at: start).map(\.failure) == [.missing, .noRoom])
        let early = directory.read(at: start.advanced(by: .seconds(59)))
        #expect(early.map(\.failure) == [.missing, .noRoom])
        #expect(early[0].wasRead)
        let late = directory.read(at: start.advanced(by: .seconds(80)))
        #expect(late.map(\.failure) == [.missing, nil])
        withExtendedLifetime((first, second)) {}
    }

    @Test("files of strangers do not take the place of a recorder whose directory was emptied")
    func emptied() throws {
        var bounds = RecorderDirectory.Bounds()
        bounds.recorders = 2
        var directory = RecorderDirectory(path: files.path, bounds: bounds)
        let recorder = try files.publisher()
        #expect(names(&directory) == ["cam"])
        try FileManager.default.removeItem(atPath: files.file("cam"))
        let strangers = try ["a", "b", "c"].map { try files.publisher($0) }
        #expect(readLater(&directory).contains { $0.name == "cam" && $0.wasRead })
        withExtendedLifetime((recorder, strangers)) {}
    }

    @Test("a file that cannot be read keeps no descriptor")
    func descriptors() throws {
        for number in 0..<40 {
            try Data("no segment".utf8).write(to: URL(fileURLWithPath: files.file("x\(number)")))
        }
        var directory = RecorderDirectory(path: files.path)
        func openFiles() throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count {
                let path = "/proc/self/fd/\($0)"
                let target = try? FileManager.default.destinationOfSymbolicLink(atPath: path)
                return target?.hasPrefix(files.path + "/") ?? false
            }
        }
        #expect(directory.read().count == 40)
        #expect(try openFiles() == 0)
    }

    @Test(
        "names are in use by recorders that publish themselves, for a minute after their files disappear"
    )
    func namesInUse() throws {
        var directory = RecorderDirectory(path: files.path)
        do { _ = try files.publisher("ended") }
        var client = RunIdentity(starting: "client", "1.0", heartbeatInterval: .seconds(1))
        client.isRelayed = true
        let relayed = try Publisher(client, directory: files.path, phases: [])
        let recorder = try files.publisher("cam")
        let start = BootTime.now()
        _ = directory.read(at: start)
        #expect(directory.namesInUse(at: start) == ["cam"])
        try FileManager.default.removeItem(atPath: files.file("cam"))
        _ = directory.read(at: start)
        #expect(directory.namesInUse(at: start.advanced(by: .seconds(59))) == ["cam"])
        #expect(directory.namesInUse(at: start.advanced(by: .seconds(61))) == [])
        withExtendedLifetime((relayed, recorder)) {}
    }
}
