import Glibc
import Media
import Posix
import StreamVaultTelemetry

/// One recording, from its first media to its finalized files; lives on its stream's thread.
///
/// What it enters into the catalogue it leaves to the journal: a catalogue that fails or hangs does not cost it.
final class RunningRecording {
    private let context: RecordingContext
    private let telemetry: RecordingPublisher
    /// When the recording began; for one that goes on after a stop, that was in an earlier run.
    private let startedAt: UTCTime
    private(set) var facts: ActiveRecording
    private var part: Int
    private var file: PartFile?
    /// Of the part under way.
    let watch = PartWatch()
    /// The header of the part under way, which fragments need in every file; `nil` where none was recognized.
    private var header: [UInt8]?

    /// Makes the file, and a place in the telemetry.
    ///
    /// Goes on with `earlier`, as its next part.
    init(
        _ stream: StreamConfiguration,
        _ container: MediaContainer,
        _ context: RecordingContext,
        continuing earlier: Continuation?
    ) throws(SystemError) {
        if let refusal = context.disk.refusal { throw refusal.error }
        let now = WallTime.now()
        startedAt = earlier?.startedAt ?? UTCTime(now)
        part = earlier?.nextPart ?? 1
        let name = RecordingName(
            directory: context.directory,
            stream: stream.name,
            startedAt: startedAt,
            part: part,
            container: container
        )
        let file = try PartFile.create(name, in: context)
        facts = ActiveRecording(
            id: earlier?.recordingID ?? context.journal.newRecordingID(),
            stream: stream.name,
            title: stream.title,
            startedAt: now,
            startedBoot: .now(),
            filePath: file.name.partPath,
            container: container
        )
        telemetry = context.publisher.startRecording(
            id: UInt64(clamping: facts.id),
            stream: stream.name,
            path: facts.filePath,
            container: container.rawValue
        )
        self.context = context
        watch.watch(file.identity)
        self.file = consume file
        enterPart(at: UTCTime(now))
    }

    /// When the recording will have lasted `duration`, what it lasted in earlier runs included.
    func end(of duration: Duration) -> BootTime {
        let earlier = UTCTime(facts.startedAt).seconds - startedAt.seconds
        return facts.startedBoot.advanced(by: max(.zero, duration - .seconds(max(0, earlier))))
    }

    /// Appends media, and sees to it that it reaches the disk in time.
    func append(_ media: Span<UInt8>) throws(SystemError) {
        do throws(SystemError) {
            try write(media)
        } catch {
            let reason = FinalizeError.Reason(code: error.code)
            context.metrics.writeErrors[reason]?.add()
            if reason == .noSpace { context.disk.look(needsReserve: true) }
            throw error
        }
    }

    private func write(_ media: Span<UInt8>) throws(SystemError) {
        if watch.isLost { try replaceLostPart(before: media) }
        let skipped = startsMidPacket ? try firstPacket(in: media) : 0
        startsMidPacket = false
        let media = media.extracting(droppingFirst: skipped)
        if file?.bytesWritten == 0, facts.container == .fragmentedMP4 { keepHeader(media) }
        try file?.append(media)
        facts.bytes = facts.bytes.addingClamped(media.count)
        telemetry.wrote(media.count)
        context.metrics.writtenBytes.add(UInt64(media.count))
        try file?.synchronizeIfDue(now: .now())
    }

    /// Finishes the file, and goes on in another one; does nothing while the file is empty and of this container.
    func beginPart(_ container: MediaContainer) throws(SystemError) {
        guard file?.bytesWritten != 0 || facts.container != container else { return }
        if let failure = finishPart() { report(failure) }
        try openNextPart(container)
    }

    private func openNextPart(_ container: MediaContainer) throws(SystemError) {
        part += 1
        let now = UTCTime(.now())
        let name = RecordingName(
            directory: context.directory,
            stream: facts.stream,
            startedAt: startedAt,
            part: part,
            container: container
        )
        let next = try PartFile.create(name, in: context)
        (facts.filePath, facts.container) = (next.name.partPath, container)
        watch.watch(next.identity)
        header = nil
        file = consume next
        telemetry.continues(in: facts.filePath, container: container.rawValue)
        enterPart(at: now)
    }

    /// Whether the next media may begin in the middle of a packet, which belongs to a file that is gone.
    private var startsMidPacket = false

    private func enterPart(at now: UTCTime) {
        let beginning = PartBeginning(
            recordingID: facts.id,
            stream: facts.stream,
            title: facts.title,
            recordingStartedAt: startedAt,
            number: part,
            path: facts.filePath,
            container: facts.container,
            startedAt: now
        )
        context.journal.enter(.partBegan(beginning))
    }
}

/// A part whose file was removed, renamed or replaced while it was written: what follows goes into another file.
extension RunningRecording {
    private func replaceLostPart(before media: Span<UInt8>) throws(SystemError) {
        guard let lost = file.take() else { return }
        watch.watch(nil)
        noteLost(bytes: lost.bytesWritten)
        let end = PartEnd(
            recordingID: facts.id,
            number: part,
            status: .failed,
            bytes: 0,
            path: facts.filePath,
            failureReason: FinalizeError.Reason.other.rawValue,
            endedAt: UTCTime(.now())
        )
        context.journal.enter(.partEnded(end))
        let (container, header) = (facts.container, header)
        guard container == .mpegTS || header != nil else {
            throw SystemError(
                call: "\(facts.filePath) was removed or replaced: write",
                code: ESTALE
            )
        }
        try openNextPart(container)
        startsMidPacket = container == .mpegTS
        if let header {
            try file?.append(header.span)
            self.header = header
        }
        let fields: KeyValuePairs = ["stream": facts.stream, "path": facts.filePath]
        context.log(.info, "Recording continues in a new file", fields)
    }

    private func noteLost(bytes: Int) {
        context.metrics.lostParts.add()
        context.log(
            .error,
            "Recording's file was removed or replaced while it was written",
            ["stream": facts.stream, "path": facts.filePath, "bytes": "\(bytes)"]
        )
    }

    private func keepHeader(_ media: Span<UInt8>) {
        let bytes = (0..<min(media.count, Self.maxHeaderBytes + 1)).map { media[$0] }
        header = bytes.count <= Self.maxHeaderBytes && FragmentedMP4.isHeader(bytes) ? bytes : nil
    }

    private static let maxHeaderBytes = 1 << 20

    /// Where the first packet in `media` begins, as far as sync bytes tell.
    private func firstPacket(in media: Span<UInt8>) throws(SystemError) -> Int {
        let start = (0..<min(TransportStream.packetBytes, media.count)).first { start in
            stride(from: start, to: media.count, by: TransportStream.packetBytes).allSatisfy {
                media[$0] == TransportStream.syncByte
            }
        }
        guard let start else {
            throw SystemError(
                call: "no packet to begin \(facts.filePath) with: write",
                code: ESTALE
            )
        }
        return start
    }
}

extension PartFile {
    /// Makes a part; where somebody has removed the directory, that as well.
    fileprivate static func create(
        _ name: RecordingName,
        in context: RecordingContext
    ) throws(SystemError) -> PartFile {
        do throws(SystemError) {
            return try create(name, syncInterval: context.syncInterval)
        } catch {
            guard error.code == ENOENT else { throw error }
            try FileSystem.makeDirectory(context.directory)
            return try create(name, syncInterval: context.syncInterval)
        }
    }
}

extension RunningRecording {
    /// Brings the file to its final name, and enters how the recording ended: `result`, or failed where that fails.
    ///
    /// `reason` is why it failed, where the disk says so.
    /// - Returns: why the file could not be finalized.
    func finish(
        _ result: RecordingResult,
        because reason: FinalizeError.Reason? = nil
    ) -> FinalizeError? {
        telemetry.finalizing()
        let failure = finishPart()
        if let failure { report(failure) }
        let result = failure == nil ? result : .failed
        let end = RecordingEnd(
            recordingID: facts.id,
            status: result.status,
            failureReason: (failure?.reason ?? reason)?.rawValue,
            endedAt: UTCTime(.now()),
            endedBoot: .now()
        )
        context.journal.enter(.recordingEnded(end))
        offerContinuation(after: result, end)
        telemetry.end(result)
        return failure
    }

    private func offerContinuation(after result: RecordingResult, _ end: RecordingEnd) {
        guard result != .completed else { return context.continuations.remove(facts.stream) }
        let continuation = Continuation(
            recordingID: facts.id,
            stream: facts.stream,
            startedAt: startedAt,
            endedAt: end.endedAt,
            endedBoot: end.endedBoot,
            nextPart: part + 1
        )
        context.continuations.add(continuation)
    }

    /// Finishes the file, and enters that.
    private func finishPart() -> FinalizeError? {
        guard let file = file.take() else { return nil }
        watch.watch(nil)
        if file.bytesWritten > 0, (try? file.identity?.isInPlace()) == false {
            noteLost(bytes: file.bytesWritten)
        }
        var end = PartEnd(
            recordingID: facts.id,
            number: part,
            status: .failed,
            bytes: file.bytesWritten,
            path: facts.filePath,
            endedAt: UTCTime(.now())
        )
        var failure: FinalizeError?
        do throws(FinalizeError) {
            try finalize(file, &end)
        } catch {
            (failure, end.failureReason) = (error, error.reason.rawValue)
        }
        context.journal.enter(.partEnded(end))
        if end.status == .finished, context.wantsRemux, facts.container == .mpegTS {
            context.journal.enter(.remuxWanted(recordingID: facts.id, number: part))
        }
        return failure
    }

    private func finalize(
        _ file: consuming PartFile,
        _ end: inout PartEnd
    ) throws(FinalizeError) {
        let start = BootTime.now()
        switch try file.finish() {
        case .published(let path, let bytes, let cutBytes):
            context.metrics.finalizeDuration.observe(BootTime.now().since(start))
            (end.status, end.path, end.bytes) = (.finished, path, bytes)
            facts.filePath = path
            facts.bytes -= cutBytes
            logFinalized(path, bytes, cutBytes)
        case .empty:
            (end.failureReason, end.bytes) = (FinalizeError.Reason.invalidMedia.rawValue, 0)
        }
    }

    private func logFinalized(_ path: String, _ bytes: Int, _ cutBytes: Int) {
        context.log(
            .info,
            "Recording finalized",
            [
                "stream": facts.stream, "path": path, "bytes": "\(bytes)",
                "cut_bytes": "\(cutBytes)",
            ]
        )
    }

    private func report(_ failure: FinalizeError) {
        context.metrics.finalizeErrors[failure.reason]?.add()
        context.log.plain("❌ Error finalizing recording: \(failure)")
        context.log(
            .error,
            "Recording not finalized, left for the next start",
            ["stream": facts.stream, "error": failure.detail]
        )
    }
}

extension RecordingResult {
    fileprivate var status: CatalogueRecording.Status {
        switch self {
        case .completed: .completed
        case .interrupted: .interrupted
        case .failed: .failed
        }
    }
}
