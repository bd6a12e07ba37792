import Catalogue
import Glibc
import Media
import Posix
import StreamVaultTelemetry

/// Converts finalized transport streams to MP4, one at a time, with the lowest priority; its jobs are in the catalogue.
struct Remuxer: Sendable {
    let context: RecordingContext
    let deletesSource: Bool
    private let limiter = LogLimiter()

    /// Works until `stop` is requested; the next start repeats a job that this interrupts.
    func run(until stop: StopSignal) {
        do throws(CatalogueError) {
            try context.catalogue.requeueJobs()
        } catch {
            context.log(
                .warn,
                "Remux jobs delayed: the catalogue cannot be written",
                ["error": "\(error)"]
            )
        }
        RemuxDraft.removeLeftovers(in: context.directory)
        repeat {
            while !stop.isRequested, let job = nextJob() { perform(job, until: stop) }
        } while !stop.wait(until: BootTime.now().advanced(by: .seconds(2)))
    }

    private func nextJob() -> RemuxJob? {
        try? context.catalogue.takeJob(at: UTCTime(.now()))
    }

    private func perform(_ job: RemuxJob, until stop: StopSignal) {
        let outcome = attempt(job, until: stop)
        do throws(CatalogueError) {
            let status = try context.catalogue.end(job, outcome)
            report(job, outcome, status)
        } catch {
            context.log(
                .error,
                "Result of a remux not in the catalogue",
                ["error": "\(error)"],
                limitedBy: limiter,
                condition: "\(error)"
            )
            _ = stop.wait(until: BootTime.now().advanced(by: .seconds(2)))
        }
    }

    private func attempt(_ job: RemuxJob, until stop: StopSignal) -> RemuxOutcome {
        do throws(BackgroundProgram.Failure) {
            let source = job.source.file(in: context.directory)
            switch job.status {
            case .deleting:
                try delete(source)
                return .sourceDeleted
            case .pending, .running, .done, .failed:
                let output = try convert(source, until: stop)
                return .produced(output, deletesSource: deletesSource)
            }
        } catch {
            switch error {
            case .stopped: return .cancelled
            case .failed(let reason): return .failed(reason)
            }
        }
    }

    private func delete(_ source: StoredFile) throws(BackgroundProgram.Failure) {
        do throws(StoredFile.RemovalError) {
            try source.remove()
        } catch {
            throw .failed("\(source.path): \(error)")
        }
    }

    private func report(_ job: RemuxJob, _ outcome: RemuxOutcome, _ status: RemuxJob.Status) {
        switch outcome {
        case .produced(let output, _):
            context.metrics.remuxJobs[.done]?.add()
            let fields: KeyValuePairs = ["path": output.path, "bytes": "\(output.bytes)"]
            context.log(.info, "Recording converted", fields)
        case .sourceDeleted:
            context.log(.info, "Source of a converted recording deleted", ["path": job.source.path])
        case .cancelled:
            context.log(
                .info,
                "Remux interrupted, the next start repeats it",
                ["path": job.source.path]
            )
        case .failed(let reason):
            let isLast = status == .failed
            context.metrics.remuxJobs[isLast ? .failed : .retried]?.add()
            context.log(
                isLast ? .error : .warn,
                isLast ? "Remux given up" : "Remux failed, it is retried",
                [
                    "path": job.source.path, "attempt": "\(job.attempts.addingWithSaturation(1))",
                    "error": reason,
                ]
            )
        }
    }

    /// Creates the output, compares it with the source, and gives it its final name.
    private func convert(
        _ source: StoredFile,
        until stop: StopSignal
    ) throws(BackgroundProgram.Failure) -> StoredFile {
        guard let name = RecordingName(outputOf: source.path, in: context.directory) else {
            throw .failed("\(source.path) is not named as a transport stream")
        }
        // Locked to the end: no other program removes or converts the source meanwhile.
        guard let lock = try lock(source) else { throw .failed("\(source.path) is gone") }
        defer { _ = lock.rawValue }
        // The locked file, whatever its name refers to by now; opened again, because a child would keep the lock.
        let media = try failing { () throws(SystemError) in
            try FileDescriptor(opening: "/proc/self/fd/\(lock.rawValue)", O_RDONLY)
        }
        let facts = try MediaProbe.of(media, as: .mpegTS, until: stop)
        // The last run may have been killed after it had published the output and before it entered that.
        if let output = try existing(name, facts, until: stop) { return output }
        let draft = try failing { () throws(SystemError) in try RemuxDraft(of: name) }
        try run(media, facts.tracks, draft.file, bytes: source.bytes, until: stop)
        let output = try MediaProbe.of(draft.file, as: .fragmentedMP4, until: stop)
        if let loss = facts.loss(in: output) { throw .failed(loss) }
        return try failing { () throws(SystemError) in try draft.publish() }
    }

    private func lock(_ source: StoredFile) throws(BackgroundProgram.Failure) -> FileDescriptor? {
        do throws(StoredFile.RemovalError) {
            return try source.lock()
        } catch {
            throw .failed("\(source.path): \(error)")
        }
    }

    private func run(
        _ source: borrowing FileDescriptor,
        _ tracks: [Int],
        _ draft: borrowing FileDescriptor,
        bytes: Int,
        until stop: StopSignal
    ) throws(BackgroundProgram.Failure) {
        let conversion = BackgroundProgram(
            arguments: ["ffmpeg", "-v", "error", "-nostdin", "-y"] + MediaContainer.mpegTS.probing
                + ["-i", BackgroundProgram.path(ofFile: 0)]
                + tracks.flatMap { ["-map", "0:\($0)"] }
                + [
                    "-c", "copy", "-movflags", "+faststart", "-f", "mp4",
                    BackgroundProgram.path(ofFile: 1),
                ],
            patience: .forMedia(of: bytes),
            files: [source.rawValue, draft.rawValue]
        )
        try conversion.run(until: stop)
    }

    /// The file with the output's name, if it is an MP4 with all packets of the source.
    private func existing(
        _ name: RecordingName,
        _ source: MediaProbe,
        until stop: StopSignal
    ) throws(BackgroundProgram.Failure) -> StoredFile? {
        let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
        guard let file = try? FileDescriptor(opening: name.finalPath, flags),
            let status = try? file.status(), status.st_mode & S_IFMT == S_IFREG
        else { return nil }
        do throws(BackgroundProgram.Failure) {
            let output = try MediaProbe.of(file, as: .fragmentedMP4, until: stop)
            guard source.loss(in: output) == nil else { return nil }
            return StoredFile(path: name.finalPath, bytes: Int(status.st_size))
        } catch {
            if error == .stopped { throw error }
            return nil  // It is no MP4.
        }
    }

    private func failing<Result: ~Copyable>(
        _ body: () throws(SystemError) -> Result
    ) throws(BackgroundProgram.Failure) -> Result {
        do throws(SystemError) {
            return try body()
        } catch {
            throw .failed("\(error)")
        }
    }
}

extension RecordingName {
    /// The name of the MP4 that a transport stream is converted to; `nil` for a path that is not that of one.
    fileprivate init?(outputOf path: String, in directory: String) {
        let source = RecordingName(finalName: lastPathComponent(path), in: directory)
        guard let source, source.container == .mpegTS else { return nil }
        self.init(directory: directory, stem: source.stem, container: .fragmentedMP4)
    }
}

/// Owns the file that a conversion writes, under a random name; removed when this value is destroyed.
///
/// Locked while it is used: a start can tell it from the leftover of a kill.
struct RemuxDraft: ~Copyable {
    let path: String
    let file: FileDescriptor
    private let name: RecordingName

    private static let suffix = ".remux"

    init(of name: RecordingName) throws(SystemError) {
        let number = UInt64.random(in: 0 ... .max)  // From the kernel.
        path = "\(name.directory)/.\(name.stem).\(String(number, radix: 16))\(Self.suffix)"
        file = try FileDescriptor(opening: path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW)
        self.name = name
        _ = try? file.tryExclusiveLock()
    }

    deinit { try? FileSystem.unlink(path) }

    /// Gives the synced file its final name.
    ///
    /// - Throws: also when the draft was replaced by another file.
    borrowing func publish() throws(SystemError) -> StoredFile {
        try file.synchronize()
        let held = try file.status()
        let final = try name.publish(path)
        let named = try FileSystem.linkStatus(of: final)
        guard held.st_ino == named.st_ino, held.st_dev == named.st_dev else {
            throw SystemError(
                call: "\(final) is not the file that was converted: link",
                code: ESTALE
            )
        }
        return StoredFile(path: final, bytes: Int(held.st_size))
    }

    /// Whether this is the name of a draft; those of former versions are named `STEM.mp4.remux`.
    static func isDraft(_ name: String) -> Bool {
        guard name.hasSuffix(suffix) else { return false }
        var fields = name.dropLast(suffix.count).split(
            separator: ".",
            omittingEmptySubsequences: false
        )
        let last = fields.popLast()
        if fields.count == 2, fields[0].isEmpty {
            let number = last.flatMap { UInt64($0, radix: 16) }
            guard let number, last.map(String.init) == String(number, radix: 16) else {
                return false
            }
            fields.removeFirst()
        } else if last != "mp4" {
            return false
        }
        return fields.count == 1 && RecordingName(finalName: "\(fields[0]).mp4", in: "") != nil
    }

    /// Removes the drafts in `directory` that are not locked.
    static func removeLeftovers(in directory: String) {
        for name in (try? FileSystem.entries(of: directory)) ?? [] where isDraft(name) {
            let path = "\(directory)/\(name)"
            let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
            guard let file = try? FileDescriptor(opening: path, flags),
                let status = try? file.status(), status.st_mode & S_IFMT == S_IFREG,
                (try? file.tryExclusiveLock()) == true
            else { continue }
            try? FileSystem.unlink(path)
        }
    }
}

/// The packets of each stream of a file, counted by ffprobe.
///
/// Durations are not compared: a conversion closes gaps in the timestamps, and 1 % of an hour is 36 s of footage.
struct MediaProbe: Equatable, Sendable {
    struct Stream: Equatable, Sendable {
        /// `video`, `audio` or another; `nil` until ffprobe has reported it.
        var kind: String?
        var packets = 0
        /// From the first key frame on: a conversion without encoding begins there.
        var packetsFromKey = 0
    }

    /// By their index in the file.
    private(set) var streams: [Int: Stream] = [:]
    /// Whether there are more than `maxStreams`.
    private(set) var hasTooManyStreams = false

    static let maxStreams = 64

    /// Runs ffprobe on the open file, as a file of `container`, whatever its content or name suggest.
    static func of(
        _ file: borrowing FileDescriptor,
        as container: MediaContainer,
        until stop: StopSignal
    ) throws(BackgroundProgram.Failure) -> MediaProbe {
        let probe = BackgroundProgram(
            arguments: ["ffprobe", "-v", "error"] + container.probing + [
                "-of", "compact", "-show_entries",
                "packet=stream_index,flags:stream=index,codec_type",
                BackgroundProgram.path(ofFile: 0),
            ],
            patience: .forMedia(of: (try? file.status().st_size) ?? 0),
            files: [file.rawValue]
        )
        var facts = MediaProbe()
        try probe.run(until: stop) { facts.parse($0) }
        guard !facts.hasTooManyStreams else {
            throw .failed("more than \(maxStreams) streams in the file")
        }
        return facts
    }

    /// Parses a line of ffprobe, such as `packet|stream_index=0|flags=K_` or `stream|index=0|codec_type=video`.
    ///
    /// The lines `program|stream|…` repeat streams, and do not count.
    mutating func parse(_ line: String) {
        let fields = line.split(separator: "|")
        func value(_ key: String) -> Substring? {
            fields.first { $0.hasPrefix(key) }?.dropFirst(key.count)
        }
        switch fields.first {
        case "packet":
            guard let index = value("stream_index=").flatMap({ Int($0) }) else { return }
            let isKey = value("flags=")?.hasPrefix("K") ?? false
            update(index) { stream in
                stream.packets += 1
                if isKey || stream.packetsFromKey > 0 { stream.packetsFromKey += 1 }
            }
        case "stream":
            guard let index = value("index=").flatMap({ Int($0) }) else { return }
            let kind = value("codec_type=").map { String($0) }
            update(index) { $0.kind = kind }
        default: break
        }
    }

    private mutating func update(_ index: Int, _ body: (inout Stream) -> Void) {
        guard streams[index] != nil || streams.count < Self.maxStreams else {
            hasTooManyStreams = true
            return
        }
        body(&streams[index, default: Stream()])
    }

    /// The indices of the video and audio streams that have packets, video first: a conversion keeps these.
    var tracks: [Int] { tracks("video") + tracks("audio") }

    private func tracks(_ kind: String) -> [Int] {
        streams.filter { $0.value.kind == kind && $0.value.packets > 0 }.keys.sorted()
    }

    /// What is missing from the `output` of a conversion of this file; `nil` for nothing.
    func loss(in output: MediaProbe) -> String? {
        guard !tracks.isEmpty else { return "the source has no video and no audio" }
        for kind in ["video", "audio"] {
            let (mine, theirs) = (tracks(kind), output.tracks(kind))
            guard mine.count == theirs.count else {
                return "the output has \(theirs.count) \(kind) streams, the source \(mine.count)"
            }
            for (source, converted) in zip(mine, theirs) {
                guard let source = streams[source], let count = output.streams[converted]?.packets
                else { continue }
                guard source.packetsFromKey > 0 else {
                    return "the source has a \(kind) stream without a key frame"
                }
                guard (source.packetsFromKey...source.packets).contains(count) else {
                    return
                        "the output has \(count) \(kind) packets, the source \(source.packetsFromKey)"
                }
            }
        }
        return nil
    }
}

extension MediaContainer {
    /// Options with which ffmpeg and ffprobe read an untrusted file: only as this container, and only this file.
    ///
    /// They analyze a minute, because a stream may begin late, and its kind is known only from its first packets.
    var probing: [String] {
        let shared = [
            "-protocol_whitelist", "file,pipe", "-analyzeduration", "60M", "-probesize", "64M",
        ]
        return switch self {
        case .mpegTS: shared + ["-f", "mpegts"]
        // A list of edits hides packets.
        case .fragmentedMP4: shared + ["-f", "mp4", "-ignore_editlist", "1"]
        }
    }
}

extension Duration {
    /// Time for a program that reads so many bytes: a disk that is busy with recordings still reads a megabyte per second.
    static func forMedia(of bytes: Int) -> Duration { .seconds(600 + max(0, bytes) >> 20) }
}
