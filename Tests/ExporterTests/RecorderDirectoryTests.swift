import Foundation
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
        directory.look().map(\.name)
    }

    /// Makes it long ago that a file came or went.
    private func letRest() throws {
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSinceNow: -60)],
            ofItemAtPath: files.path
        )
    }

    @Test("they come and go with their files; a directory that is missing has none")
    func comingAndGoing() throws {
        var directory = RecorderDirectory(path: files.path)
        #expect(names(&directory) == [])
        let first = try files.publisher("one")
        #expect(names(&directory) == ["one"])
        let second = try files.publisher("another")
        #expect(names(&directory) == ["another", "one"])
        try FileManager.default.removeItem(atPath: files.file("one"))
        #expect(names(&directory) == ["another"])
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
        #expect(names(&directory) == [])
        try FileManager.default.createDirectory(
            atPath: files.path,
            withIntermediateDirectories: false
        )
        let second = try files.publisher("another")
        #expect(names(&directory) == ["another"])
        withExtendedLifetime((first, second)) {}
    }

    @Test("another directory at the path is noticed, if a second late")
    func exchangedDirectory() async throws {
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
        while names(&directory) != [] { try await Task.sleep(for: .milliseconds(20)) }
        withExtendedLifetime(first) {}
    }

    @Test("the next run is read from its own file, also when the directory had been at rest")
    func nextRun() throws {
        var directory = RecorderDirectory(path: files.path)
        func runID() throws -> [UInt8] {
            try #require(directory.look().first?.snapshot).contents.identity.runID
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
        #expect(directory.look()[0].failure == nil)
        try Data("no segment".utf8).write(to: URL(fileURLWithPath: files.file("cam")))

        let known = directory.look()[0]
        #expect(known.failure == .truncated)
        #expect(directory.readErrors == ["truncated": 1])
        var page = MetricsPage(.prometheus)
        let text = String(decoding: page.render([MetricSource(known)]), as: UTF8.self)
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

        let known = try #require(directory.look().first)
        #expect(directory.readErrors == ["unreadable": 2], "the directory, and the segment")
        var page = MetricsPage(.prometheus)
        let text = String(decoding: page.render([MetricSource(known)]), as: UTF8.self)
        #expect(text.contains("x_total{recorder=\"cam\"} 5\n"))
        try FileManager.default.removeItem(atPath: link)
        #expect(names(&directory) == [])
    }

    @Test("a segment that was never readable is shown as recorder_up 0")
    func neverRead() throws {
        try Data("no segment".utf8).write(to: URL(fileURLWithPath: files.file("cam")))
        var directory = RecorderDirectory(path: files.path)
        var page = MetricsPage(.prometheus)
        let text = String(
            decoding: page.render(directory.look().map { MetricSource($0) }),
            as: UTF8.self
        )
        #expect(text.hasSuffix("streamvault_recorder_up{recorder=\"cam\"} 0\n"))
    }

    @Test("a copy under another name is refused: it would show every series twice")
    func copies() throws {
        let publisher = try files.publisher()
        try FileManager.default.copyItem(atPath: files.file("cam"), toPath: files.file("copy"))
        var directory = RecorderDirectory(path: files.path)
        let failures = directory.look().map { ($0.name, $0.failure) }
        #expect(failures[0] == ("cam", nil))
        #expect(failures[1] == ("copy", .damaged(.header)))
        withExtendedLifetime(publisher) {}
    }
}
