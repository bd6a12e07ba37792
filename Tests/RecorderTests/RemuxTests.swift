import Foundation
import Glibc
import Posix
import Testing

@testable import Catalogue
@testable import Media
@testable import Recorder

@Suite("Remux", .timeLimit(.minutes(5)))
struct RemuxTests {
    private let directory = FilesDirectory()

    private func catalogue() throws -> Catalogue {
        let catalogue = try Catalogue(path: "\(directory.path)/c.sqlite")
        let id = try catalogue.start(catalogueEntry("/r/a.ts.part"))
        try catalogue.end(id, .completed, path: "/r/a.ts", bytes: 376)
        let wish = CatalogueChange.remuxRequested(recordingID: id, number: 1)
        try catalogue.apply([wish, wish])
        return catalogue
    }

    private func seconds(_ count: Int) -> UTCTime { UTCTime(filesStart).advanced(by: count) }

    @Test("a job is taken once, and again after a kill")
    func taking() throws {
        let catalogue = try catalogue()
        let job = try #require(try catalogue.takeJob(at: seconds(0)))
        #expect(job.attempts == 0 && job.status == .pending && job.source.bytes == 376)
        #expect(try catalogue.takeJob(at: seconds(0)) == nil)
        try catalogue.requeueJobs()
        #expect(try catalogue.takeJob(at: seconds(0))?.attempts == 1)
    }

    @Test("a job that fails waits longer each time, and is given up after five attempts")
    func attempts() throws {
        let catalogue = try catalogue()
        var now = 0
        for (attempt, pause) in [60, 120, 240, 480].enumerated() {
            let job = try #require(try catalogue.takeJob(at: seconds(now)))
            #expect(job.attempts == attempt)
            #expect(try catalogue.end(job, .failed("no"), at: seconds(now)) == .pending)
            #expect(try catalogue.takeJob(at: seconds(now + pause - 1)) == nil)
            now += pause
        }
        let last = try #require(try catalogue.takeJob(at: seconds(now)))
        #expect(try catalogue.end(last, .failed("no"), at: seconds(now)) == .failed)
        #expect(try catalogue.takeJob(at: seconds(now + 100_000)) == nil)
    }

    @Test("a job that a stop cut off is as it was before")
    func cancelled() throws {
        let catalogue = try catalogue()
        for _ in 0..<9 {
            let job = try #require(try catalogue.takeJob(at: seconds(0)))
            #expect(try catalogue.end(job, .cancelled, at: seconds(0)) == .pending)
        }
        #expect(try catalogue.takeJob(at: seconds(0))?.attempts == 0)
    }

    @Test("the product is entered before the source goes, and takes its place afterwards")
    func deleting() throws {
        let catalogue = try catalogue()
        let job = try #require(try catalogue.takeJob(at: seconds(0)))
        let product = StoredFile(path: "/r/a.mp4", bytes: 300)
        let outcome = RemuxOutcome.produced(product, deletesSource: true)
        #expect(try catalogue.end(job, outcome, at: seconds(0)) == .deleting)
        #expect(try catalogue.all()[0].parts[0].output == product)
        #expect(try catalogue.all()[0].storedBytes == 676)
        try catalogue.requeueJobs()
        let rest = try #require(try catalogue.takeJob(at: seconds(0)))
        #expect(rest.status == .deleting)
        #expect(try catalogue.end(rest, .sourceDeleted, at: seconds(0)) == .done)
        let part = try catalogue.all()[0].parts[0]
        #expect(part.path == "/r/a.mp4" && part.bytes == 300 && part.container == "mp4")
        #expect(part.output == nil)
    }

    @Test("a job whose part retention has removed is dropped")
    func removed() throws {
        let catalogue = try catalogue()
        let id = try catalogue.all()[0].id
        let deletion = PartDeletion(recordingID: id, number: 1, reason: .age, at: seconds(0))
        try catalogue.apply([.partDeleted(deletion)])
        #expect(try catalogue.takeJob(at: seconds(0)) == nil)
        #expect(try catalogue.stored().isEmpty)
    }

    @Test(
        "a product that lacks a stream or a packet is not taken for the source",
        arguments: [
            ([100, 200], true), ([99, 200], false), ([100, 199], false), ([100], false),
            ([101, 200], false), ([100, 200, 1], false), ([], false),
        ] as [([Int], Bool)]
    )
    func loss(_ packets: [Int], _ isSame: Bool) {
        let loss = facts([100, 200]).loss(in: facts(packets))
        #expect((loss == nil) == isSame, "\(loss ?? "")")
    }

    /// A file whose first stream is video, and the others audio, with so many packets each.
    private func facts(_ packets: [Int]) -> MediaProbe {
        var facts = MediaProbe()
        for (index, count) in packets.enumerated() {
            for _ in 0..<count { facts.parse("packet|stream_index=\(index)|flags=K_|side_data|") }
            facts.parse("program|stream|index=\(index)|codec_type=video")
            facts.parse("stream|index=\(index)|codec_type=\(index == 0 ? "video" : "audio")")
        }
        return facts
    }

    @Test("packets before the first key frame may be missing; a stream without one is a loss")
    func keyFrames() {
        func video(_ flags: [String]) -> MediaProbe {
            var facts = MediaProbe()
            for flags in flags { facts.parse("packet|stream_index=0|flags=\(flags)") }
            facts.parse("stream|index=0|codec_type=video")
            return facts
        }
        let source = video(["__", "__", "K_", "__"])
        #expect(source.loss(in: video(["K_", "__"])) == nil)
        #expect(source.loss(in: video(["__", "__", "K_", "__"])) == nil)
        #expect(source.loss(in: video(["K_"])) != nil)
        #expect(video(["__"]).loss(in: video([])) != nil)
        #expect(video(["__"]).loss(in: video(["__"])) != nil)
    }

    @Test(
        "whatever ffprobe writes, facts are bounded",
        arguments: [
            "", "{}", "packet|", "packet|stream_index=-9223372036854775808|flags=",
            "packet|stream_index=9223372036854775808|flags=K", "stream|index=1",
            "stream|codec_type=|",
            "packet|flags=K_|stream_index=x",
        ]
    )
    func oddLines(_ line: String) {
        var facts = MediaProbe()
        for _ in 0..<3 { facts.parse(line) }
        #expect(facts.tracks.isEmpty && facts.loss(in: facts) != nil)
        for index in 0..<1000 { facts.parse("packet|stream_index=\(index)|flags=K_") }
        #expect(facts.hasTooManyStreams && facts.streams.count == MediaProbe.maxStreams)
    }

    @Test(
        "a program that is stopped goes at once, with all that it started, at the lowest priority"
    )
    func stopped() throws {
        let stop = try StopSignal()
        let pidPath = "\(directory.path)/pid"
        let script =
            "trap '' TERM INT; sleep 600 & echo $! > '\(pidPath)'; nice > '\(pidPath).nice'; wait"
        let killer = Thread {
            while (try? FileSystem.status(of: pidPath + ".nice")).map({ $0.st_size > 0 }) != true {
                usleep(10_000)
            }
            stop.request()
        }
        killer.start()
        let program = BackgroundProgram(arguments: ["sh", "-c", script], patience: .seconds(50))
        #expect(throws: BackgroundProgram.Failure.stopped) { try program.run(until: stop) }
        let child = try #require(
            pid_t(
                try String(contentsOfFile: pidPath, encoding: .utf8).trimmingCharacters(
                    in: .newlines
                )
            )
        )
        // The orphan is reaped by whoever is process 1, so it may stay a zombie for a while.
        try waitFor("the end of what the program started") {
            let stat = try? String(contentsOfFile: "/proc/\(child)/stat", encoding: .utf8)
            return stat.map { $0.contains(") Z") || $0.contains(") X") } ?? true
        }
    }

    @Test("a program that takes too long, or fails, says so with its last line")
    func failing() throws {
        let stop = try StopSignal()
        func run(_ script: String, _ patience: Duration) throws -> String {
            var lines: [String] = []
            try BackgroundProgram(arguments: ["sh", "-c", script], patience: patience).run(
                until: stop
            ) { lines.append($0) }
            return lines.joined(separator: "\n")
        }
        #expect(try run("echo out; echo err >&2", .seconds(50)) == "out")
        #expect(throws: BackgroundProgram.Failure.failed("sh failed: bad thing")) {
            try run("echo first >&2; echo bad thing >&2; exit 3", .seconds(50))
        }
        #expect(throws: BackgroundProgram.Failure.failed("sh took more than 100ms")) {
            try run("sleep 600", .milliseconds(100))
        }
        #expect(throws: BackgroundProgram.Failure.self) {
            try BackgroundProgram(arguments: ["no-such-program"], patience: .seconds(1)).run(
                until: stop
            )
        }
    }

    @Test(
        "a program that closes its output and goes on heeds a stop, and its time",
        arguments: [true, false]
    )
    func silent(isStopped: Bool) throws {
        let stop = try StopSignal()
        let path = "\(directory.path)/closed"
        let script = "exec >&- 2>&-; touch '\(path)'; exec sleep 600"
        let patience = isStopped ? Duration.seconds(600) : .milliseconds(500)
        let program = BackgroundProgram(arguments: ["sh", "-c", script], patience: patience)
        if isStopped {
            let killer = Thread {
                while (try? FileSystem.status(of: path)) == nil { usleep(10_000) }
                stop.request()
            }
            killer.start()
        }
        let expected: BackgroundProgram.Failure =
            isStopped ? .stopped : .failed("sh took more than 500ms")
        #expect(throws: expected) { try program.run(until: stop) }
    }

    @Test(
        "a program gets the files that it is given, in their order, whatever their numbers are here"
    )
    func inherited() throws {
        let one = try FileDescriptor(opening: try directory.write("one", to: "1"), O_RDONLY)
        let two = try FileDescriptor(opening: try directory.write("two", to: "2"), O_RDONLY)
        for files in [[one.rawValue, two.rawValue], [two.rawValue, one.rawValue]] {
            var lines: [String] = []
            let arguments = [
                "sh", "-c", "cat <&3; echo; cat <&4; echo; [ -e /proc/$$/fd/5 ] || echo closed",
            ]
            try BackgroundProgram(arguments: arguments, patience: .seconds(50), files: files).run(
                until: try StopSignal()
            ) { lines.append($0) }
            #expect(
                lines
                    == (files[0] == one.rawValue
                        ? ["one", "two", "closed"] : ["two", "one", "closed"])
            )
            for file in files { lseek(file, 0, SEEK_SET) }
        }
    }
}

/// Real conversions, by the real programs.
@Suite("Conversions", .timeLimit(.minutes(5)))
struct ConversionTests {
    private let bench: APIBench
    private let source: String

    private static let video =
        "-f lavfi -i testsrc2=size=64x64:rate=25 -f lavfi -i sine=sample_rate=8000"
        + " -t 2 -c:v libx264 -preset ultrafast -threads 1 -g 25 -bf 2 -c:a aac -f mpegts"

    init() throws {
        bench = try APIBench([.silence("cam")])
        source = "\(bench.files.path)/\(filesStem).ts"
    }

    /// Makes the media; `shell` reads it from standard input, and writes the source.
    private func makeSource(_ shell: String = "cat") throws {
        let words = "ffmpeg -v error \(Self.video) - | (\(shell)) > '\(source)'"
        try #require(try filesRun(["sh", "-c", words]) == 0)
    }

    /// Runs the conversion of the source, as a job that was wanted, until it has ended; the part afterwards.
    private func convert(deletesSource: Bool = true) throws -> CataloguePart {
        let catalogue = bench.context.catalogue
        let id = try catalogue.start(catalogueEntry(source + ".part"))
        let bytes = try Int(FileSystem.status(of: source).st_size)
        try catalogue.end(id, .completed, path: source, bytes: bytes)
        try catalogue.apply([.remuxRequested(recordingID: id, number: 1)])
        let stop = try StopSignal()
        let remuxer = Remuxer(context: bench.context, deletesSource: deletesSource)
        let thread = Thread { remuxer.run(until: stop) }
        thread.start()
        defer { stop.request() }
        try waitFor("the end of the job") {
            let log = try bench.logged()
            return log.contains("Remux failed")
                || log.contains(
                    deletesSource ? "Source of a converted recording" : "Recording converted"
                )
        }
        return try #require(try catalogue.all().first?.parts.first)
    }

    /// Packets of the video and the audio.
    private func packets(_ path: String, _ container: MediaContainer) throws -> [Int] {
        let facts = try MediaProbe.of(
            try FileDescriptor(opening: path, O_RDONLY),
            as: container,
            until: try StopSignal()
        )
        return facts.tracks.compactMap { facts.streams[$0]?.packets }
    }

    @Test("every packet is in the product, which takes the source's place; no draft is left")
    func whole() throws {
        try makeSource()
        let before = try packets(source, .mpegTS)
        #expect(before.count == 2 && before[0] == 50)
        let part = try convert()
        #expect(part.path == "\(bench.files.path)/\(filesStem).mp4" && part.container == "mp4")
        #expect(try packets(part.path, .fragmentedMP4) == before)
        #expect(
            try bench.files.entries.allSatisfy { !$0.hasSuffix(".remux") && !$0.hasSuffix(".ts") }
        )
    }

    @Test("a gap of any length in the timestamps is no loss")
    func gap() throws {
        let shift =
            "ffmpeg -v error -i '\(bench.files.path)/1' -c copy -output_ts_offset 300 -f mpegts -"
        try makeSource("tee '\(bench.files.path)/1'; \(shift)")
        let part = try convert()
        #expect(try packets(part.path, .fragmentedMP4)[0] == 100)
    }

    @Test("media that begins between two key frames is converted from the first of them on")
    func midway() throws {
        try makeSource("tail -c +18801")
        #expect(try convert().container == "mp4")
    }

    /// What a stranger may have put at the product's name.
    enum Planted: CaseIterable { case playlist, link, danglingLink, directory, fifo, shorter }

    @Test(
        "what stands at the product's name is not taken for it, and not touched",
        arguments: Planted.allCases
    )
    func planted(_ planted: Planted) throws {
        try makeSource()
        let name = "\(bench.files.path)/\(filesStem).mp4"
        let playlist =
            "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n\(filesStem).ts\n#EXT-X-ENDLIST\n"
        switch planted {
        case .playlist: try bench.files.write(playlist, to: "\(filesStem).mp4")
        case .link: symlink("\(filesStem).ts", name)
        case .danglingLink: symlink("nowhere", name)
        case .directory: mkdir(name, 0o755)
        case .fifo: mkfifo(name, 0o644)
        case .shorter:
            let words = "ffmpeg -v error -i '\(source)' -c copy -t 1 '\(name)'"
            try #require(try filesRun(["sh", "-c", words]) == 0)
        }
        let before = try FileSystem.linkStatus(of: name)
        let part = try convert()
        #expect(part.path == "\(bench.files.path)/\(filesStem)-2.mp4")
        #expect(try packets(part.path, .fragmentedMP4)[0] == 50)
        #expect(try FileSystem.linkStatus(of: name).st_ino == before.st_ino)
    }

    @Test("a product that a killed run left complete is taken, and not made again")
    func existing() throws {
        try makeSource()
        let name = "\(bench.files.path)/\(filesStem).mp4"
        try #require(
            try filesRun(["ffmpeg", "-v", "error", "-i", source, "-c", "copy", name]) == 0
        )
        let before = try FileSystem.linkStatus(of: name).st_ino
        #expect(try convert().path == name)
        #expect(try FileSystem.linkStatus(of: name).st_ino == before)
    }

    @Test("the draft of a former version, planted as a link, is written through by nobody")
    func plantedDraft() throws {
        try makeSource()
        try bench.files.write("precious", to: "target")
        symlink("target", "\(bench.files.path)/\(filesStem).mp4.remux")
        _ = try convert()
        #expect(try bench.files.bytes(of: "target") == Array("precious".utf8))
    }

    @Test("a playlist that was recorded as media is asked nothing: no file that it names is read")
    func hostileSource() throws {
        try bench.files.write(
            "#EXTM3U\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
            to: "\(filesStem).ts"
        )
        let part = try convert()
        #expect(part.container == "ts" && part.output == nil)
        #expect(
            try bench.files.entries.allSatisfy { !$0.hasSuffix(".mp4") && !$0.hasSuffix(".remux") }
        )
    }

    @Test("drafts that a kill left are removed, those under way are not")
    func leftovers() throws {
        let name = RecordingName(
            directory: bench.files.path,
            stem: filesStem,
            container: .fragmentedMP4
        )
        let draft = try RemuxDraft(of: name)
        try bench.files.write("x", to: ".\(filesStem)_part002.1a3.remux")
        try bench.files.write("x", to: "\(filesStem)-2.mp4.remux")
        let directory = ".\(filesStem).123.remux"
        mkdir("\(bench.files.path)/\(directory)", 0o755)
        let foreign = [
            ".b.123.remux", "film.mp4.remux", "\(filesStem).remux", ".\(filesStem).XYZ.remux",
            ".\(filesStem).0123.remux", "\(filesStem).avi.remux", ".remux", "..remux",
        ]
        for name in foreign { try bench.files.write("theirs", to: name) }
        RemuxDraft.removeLeftovers(in: bench.files.path)
        let left = try bench.files.entries.filter { $0.hasSuffix(".remux") }
        #expect(left == ([lastPathComponent(draft.path), directory] + foreign).sorted())
        let another = try RemuxDraft(of: name)
        #expect(another.path != draft.path)
    }
}
