import Catalogue
import Fetch
import Glibc
import HLS
import Media
import Posix
import StreamVaultTelemetry
import Synchronization

/// What all recordings of a recorder share.
struct RecordingContext: Sendable {
    let directory: String
    let syncInterval: Duration
    /// Time for a source to end after the stop; what is left of the phase is for its file.
    let sourceTimeout: Duration
    /// Private addresses that playlists of a public origin may name.
    var addressExceptions = AddressExceptions()
    /// Of all HLS streams together.
    var segmentMemory = SegmentMemory()
    let publisher: Publisher
    let metrics: RecorderMetrics
    let catalogue: Catalogue
    let journal: CatalogueJournal
    let resumableRecordings: ResumableRecordings
    let disk: DiskGuard
    /// Whether transport streams are converted to MP4 afterwards.
    let wantsRemux: Bool
    let log: Log
    /// Wakes the main thread, because something changed.
    let wakeup: Wakeup
    let status: RecorderStatus
    let broadcaster: Broadcaster

    /// Publishes that the main thread runs.
    func heartbeat() {
        publisher.heartbeat()
        status.noteHeartbeat()
    }
}

/// One recording, from its first media to its finalized files; used by its stream's thread alone.
///
/// Changes of the catalogue go to the journal, so that a catalogue that fails or hangs does not delay the recording.
final class Recording {
    private let context: RecordingContext
    private let telemetry: RecordingPublisher
    /// The start of the recording; if it was continued, in an earlier run.
    private let startedAt: UTCTime
    private(set) var status: ActiveRecording
    /// When the recording will have lasted long enough, if there is a limit.
    private var splitDue: BootTime?
    /// Which segments of HLS begin a part.
    private var sequence = PartSequence()
    private var part: Int
    private var file: PartFile?
    /// Of the current part.
    let watch = PartWatch()
    /// The header of the current part, which fragments need in every file; `nil` if none was recognized.
    private var header: [UInt8]?
    /// Whether the next media may begin in the middle of a packet, whose start is in a file that is gone.
    private var startsMidPacket = false

    private static let maxHeaderBytes = 1 << 20
    private static let splitRetryDelay = Duration.seconds(60)

    /// Creates the file, and takes a slot in the telemetry; after `earlier`, the file is the next part of that recording.
    init(
        _ stream: StreamConfiguration,
        _ container: MediaContainer,
        _ context: RecordingContext,
        continuing earlier: ResumableRecording?
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
        status = ActiveRecording(
            id: earlier?.recordingID ?? context.journal.newRecordingID(),
            stream: stream.name,
            title: stream.title,
            startedAt: now,
            startedBoot: .now(),
            filePath: file.name.partPath,
            container: container
        )
        telemetry = context.publisher.startRecording(
            id: UInt64(clamping: status.id),
            stream: stream.name,
            path: status.filePath,
            container: container.rawValue
        )
        self.context = context
        if let limit = stream.splitAfter {
            // What it lasted in earlier runs counts too.
            let earlier = Duration.seconds(max(0, UTCTime(now).seconds - startedAt.seconds))
            splitDue = status.startedBoot.advanced(by: max(.zero, limit - earlier))
        }
        watch.watch(file.identity)
        self.file = consume file
        journalPart(startedAt: UTCTime(now))
    }

    /// Whether the recording has lasted long enough, and the next one is to begin.
    var isSplitDue: Bool { splitDue.map { $0 <= .now() } ?? false }

    /// Puts the split off: for a while, or for good.
    func postponeSplit(forGood: Bool) {
        splitDue = forGood ? nil : BootTime.now().advanced(by: Self.splitRetryDelay)
    }

    /// When a segment may be appended; `nil` for now.
    func dueTime(of unit: MediaUnit) -> BootTime? { sequence.dueTime(of: unit, at: .now()) }

    /// Appends a segment of HLS, in a new part if it cannot continue the current one.
    ///
    /// - Returns: whether it continues the current part only because parts began too often.
    func append(
        _ unit: MediaUnit,
        number: UInt64,
        isDiscontinuous: Bool
    ) throws(SystemError) -> Bool {
        let placement = sequence.place(
            unit,
            number: number,
            isDiscontinuous: isDiscontinuous,
            at: .now()
        )
        if placement.beginsPart { try beginPart(unit.container) }
        if !placement.prefix.isEmpty { try append(placement.prefix.span) }
        try append(unit.media.span)
        return placement.isJoined
    }

    /// Appends media, and syncs it if that is due.
    func append(_ media: Span<UInt8>) throws(SystemError) {
        do throws(SystemError) {
            if watch.isLost { try replaceLostPart() }
            let skipped = startsMidPacket ? try firstPacket(in: media) : 0
            startsMidPacket = false
            let media = media.extracting(droppingFirst: skipped)
            if file?.bytesWritten == 0, status.container == .fragmentedMP4 { keepHeader(media) }
            try file?.append(media)
            status.bytes = status.bytes.addingWithSaturation(media.count)
            telemetry.wrote(media.count)
            context.metrics.writtenBytes.add(UInt64(media.count))
            try file?.synchronizeIfDue(now: .now())
        } catch {
            let reason = FinalizeError.Reason(code: error.code)
            context.metrics.writeErrors[reason]?.add()
            if reason == .noSpace { context.disk.check(needsReserve: true) }
            throw error
        }
    }

    private func keepHeader(_ media: Span<UInt8>) {
        let bytes = (0..<min(media.count, Self.maxHeaderBytes + 1)).map { media[$0] }
        header = bytes.count <= Self.maxHeaderBytes && FragmentedMP4.isHeader(bytes) ? bytes : nil
    }

    /// Finalizes the file, and continues in another one; does nothing while the file is empty and of this container.
    func beginPart(_ container: MediaContainer) throws(SystemError) {
        guard file?.bytesWritten != 0 || status.container != container else { return }
        if let failure = finishPart() { report(failure) }
        try openNextPart(container)
    }

    private func openNextPart(_ container: MediaContainer) throws(SystemError) {
        part += 1
        let now = UTCTime(.now())
        let name = RecordingName(
            directory: context.directory,
            stream: status.stream,
            startedAt: startedAt,
            part: part,
            container: container
        )
        let next = try PartFile.create(name, in: context)
        (status.filePath, status.container) = (next.name.partPath, container)
        watch.watch(next.identity)
        header = nil
        file = consume next
        telemetry.continues(in: status.filePath, container: container.rawValue)
        journalPart(startedAt: now)
    }

    private func journalPart(startedAt now: UTCTime) {
        let start = PartStart(
            recordingID: status.id,
            stream: status.stream,
            title: status.title,
            recordingStartedAt: startedAt,
            number: part,
            path: status.filePath,
            container: status.container,
            startedAt: now
        )
        context.journal.append(.partStarted(start))
    }

    /// Continues in another file, after the current one was removed, renamed or replaced.
    private func replaceLostPart() throws(SystemError) {
        guard let lost = file.take() else { return }
        watch.watch(nil)
        reportLostPart(bytes: lost.bytesWritten)
        let end = PartEnd(
            recordingID: status.id,
            number: part,
            status: .failed,
            bytes: 0,
            path: status.filePath,
            failureReason: FinalizeError.Reason.other.rawValue,
            endedAt: UTCTime(.now())
        )
        context.journal.append(.partEnded(end))
        let (container, header) = (status.container, header)
        guard container == .mpegTS || header != nil else {
            throw SystemError(
                call: "\(status.filePath) was removed or replaced: write",
                code: ESTALE
            )
        }
        try openNextPart(container)
        startsMidPacket = container == .mpegTS
        if let header {
            try file?.append(header.span)
            self.header = header
        }
        let fields: KeyValuePairs = ["stream": status.stream, "path": status.filePath]
        context.log(.info, "Recording continues in a new file", fields)
    }

    private func reportLostPart(bytes: Int) {
        context.metrics.lostParts.add()
        context.log(
            .error,
            "Recording's file was removed or replaced while it was written",
            ["stream": status.stream, "path": status.filePath, "bytes": "\(bytes)"]
        )
    }

    /// The offset of the first packet in `media`, as far as sync bytes tell.
    private func firstPacket(in media: Span<UInt8>) throws(SystemError) -> Int {
        let start = (0..<min(TransportStream.packetBytes, media.count)).first { start in
            stride(from: start, to: media.count, by: TransportStream.packetBytes).allSatisfy {
                media[$0] == TransportStream.syncByte
            }
        }
        guard let start else {
            throw SystemError(
                call: "no packet to begin \(status.filePath) with: write",
                code: ESTALE
            )
        }
        return start
    }

    /// Finalizes the file, and records the end of the recording: `result`, or failed if the file could not be finalized.
    ///
    /// `reason` is why the recording failed, if the disk did.
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
            recordingID: status.id,
            status: result.status,
            failureReason: (failure?.reason ?? reason)?.rawValue,
            endedAt: UTCTime(.now()),
            endedBoot: .now()
        )
        context.journal.append(.recordingEnded(end))
        if result == .completed {
            context.resumableRecordings.remove(status.stream)
        } else {
            let continuation = ResumableRecording(
                recordingID: status.id,
                stream: status.stream,
                startedAt: startedAt,
                endedAt: end.endedAt,
                endedBoot: end.endedBoot,
                nextPart: part + 1
            )
            context.resumableRecordings.add(continuation)
        }
        telemetry.end(result)
        return failure
    }

    private func finishPart() -> FinalizeError? {
        guard let file = file.take() else { return nil }
        watch.watch(nil)
        if file.bytesWritten > 0, (try? file.identity?.isInPlace()) == false {
            reportLostPart(bytes: file.bytesWritten)
        }
        var end = PartEnd(
            recordingID: status.id,
            number: part,
            status: .failed,
            bytes: file.bytesWritten,
            path: status.filePath,
            endedAt: UTCTime(.now())
        )
        var failure: FinalizeError?
        do throws(FinalizeError) {
            try finalize(file, &end)
        } catch {
            (failure, end.failureReason) = (error, error.reason.rawValue)
        }
        context.journal.append(.partEnded(end))
        if end.status == .finished, context.wantsRemux, status.container == .mpegTS {
            context.journal.append(.remuxRequested(recordingID: status.id, number: part))
        }
        return failure
    }

    private func finalize(
        _ file: consuming PartFile,
        _ end: inout PartEnd
    ) throws(FinalizeError) {
        let start = BootTime.now()
        switch try file.finish() {
        case .published(let path, let bytes, let truncatedBytes):
            context.metrics.finalizeDuration.observe(BootTime.now().since(start))
            (end.status, end.path, end.bytes) = (.finished, path, bytes)
            status.filePath = path
            status.bytes -= truncatedBytes
            context.log(
                .info,
                "Recording finalized",
                [
                    "stream": status.stream, "path": path, "bytes": "\(bytes)",
                    "cut_bytes": "\(truncatedBytes)",
                ]
            )
        case .empty:
            (end.failureReason, end.bytes) = (FinalizeError.Reason.invalidMedia.rawValue, 0)
        }
    }

    private func report(_ failure: FinalizeError) {
        context.metrics.finalizeErrors[failure.reason]?.add()
        context.log.plain("❌ Error finalizing recording: \(failure)")
        context.log(
            .error,
            "Recording not finalized, left for the next start",
            ["stream": status.stream, "error": failure.detail]
        )
    }
}

extension PartFile {
    /// Creates a part; if the directory was removed, that too.
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

extension RecordingResult {
    fileprivate var status: CatalogueRecording.Status {
        switch self {
        case .completed: .completed
        case .interrupted: .interrupted
        case .failed: .failed
        }
    }
}

/// Detects that the file of a recording was removed, renamed or replaced.
///
/// Another thread checks; the recording's thread only reads a flag.
final class PartWatch: Sendable {
    private let watched = Mutex<PartIdentity?>(nil)
    private let lost = Atomic(false)

    /// Whether the file has lost its name.
    var isLost: Bool { lost.load(ordering: .acquiring) }

    /// Watches `part` from now on; `nil` before the recorder itself takes its name away.
    func watch(_ part: PartIdentity?) {
        watched.withLock { watched in
            watched = part
            lost.store(false, ordering: .releasing)
        }
    }

    /// Checks the file, without a lock: on a mount that hangs, this blocks.
    func check() {
        // A mount that fails is not a file that is gone.
        guard let part = watched.withLock({ $0 }), (try? part.isInPlace()) == false else { return }
        watched.withLock { watched in
            if watched == part { lost.store(true, ordering: .releasing) }
        }
    }
}
