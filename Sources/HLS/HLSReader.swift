package import Fetch
package import FoundationEssentials
import Media
package import Posix

/// Reads a live or finished HLS stream: loads its playlist, fetches new segments, returns them in order.
///
/// Runs on the thread that calls `next`, and blocks it. A reader serves one attempt; `position` lets the next attempt continue.
package struct HLSReader {
    package struct Settings: Sendable {
        /// Sent with every request.
        var headers: [String: String] = [:]
        package var userAgent = ""
        /// Private addresses that playlists of a public origin may name.
        package var addressExceptions = AddressExceptions()
        /// The choice among the variants of a master playlist.
        package var quality = Quality.best
        package var startPoint = StartPoint.start
        var playlist = FetchLimits(bytes: 4 << 20, timeout: .seconds(10))
        var segments = SegmentQueue.Settings()
        var failures = ReloadPolicy.Settings()
        var minReloadInterval = Duration.milliseconds(500)

        /// For segments that are fetched or wait for an earlier one; shared by all streams.
        package var memory: SegmentMemory {
            get { segments.memory }
            set { segments.memory = newValue }
        }

        package init() {}
    }

    /// What happened next in the stream.
    package enum Item: Equatable, Sendable {
        /// A complete segment. Until the next call of `next` it counts as not recorded: `position` repeats it.
        case segment(MediaUnit, number: UInt64, isDiscontinuous: Bool)
        /// Segments that left the playlist before they were loaded, or that it marks as gaps.
        case missed(Int)
        /// A segment that could not be fetched, decrypted or verified.
        case segmentFailed(number: UInt64, message: String)
        /// The media sequence began again, at a lower number or at one that no gap explains.
        case restarted
        /// A variant of the stream was chosen, such as `720p 2500k`.
        case variantChosen(String)
        /// A load of the playlist failed; the reader tries again.
        case loadFailed(PlaylistFailure, message: String)
        /// A playlist or a segment was read although RFC 8216 does not allow what it contains.
        case deviation(PlaylistDeviation)
        /// Bytes of a segment belonged to no packet.
        case bytesDropped(Int)
        /// An address was not requested because its origin may not name it.
        case addressRefused
        /// Segments waited for room in the memory of all streams, so often since the last item of this kind.
        case memoryFull(waits: Int)
        /// The stream is over: `EXT-X-ENDLIST`, silence, or a playlist that is gone.
        case ended
        /// The stream cannot be loaded, or is of a kind that is not supported.
        case failed(HLSError)
        /// The stop was requested; all segments that were complete have been returned.
        case stopped
    }

    /// How far a stream has been recorded, so that the next reader returns nothing twice.
    package struct Position: Sendable {
        fileprivate let tracker: PlaylistTracker
        fileprivate let aligner: PacketAligner
        fileprivate let origin: ServerPlace?
    }

    /// The playlist is not loaded while so many segments wait to be fetched.
    static let maxWaiting = 1000

    private let settings: Settings
    private let transfers: Transfers
    private var tracker: PlaylistTracker
    private var address: PlaylistAddress
    private var reloads: ReloadPolicy
    private var queue: SegmentQueue
    private var aligner: PacketAligner
    private var latestNumber: UInt64?
    private var load = Load.due(at: .now())
    private var loadStart = BootTime(nanoseconds: 0)
    /// The segment for which the playlist was loaded once more after its end.
    private var reloadedFor: UInt64?
    /// What happened and was not returned yet.
    private var events: [Item] = []
    private var reportedWaits = 0
    /// Whether the first segment of the queue has been returned.
    private var hasReturnedFirst = false
    /// Whether a failed segment was discontinuous: the segment after it is, then.
    private var isBroken = false

    private enum Load {
        case due(at: BootTime)
        case active(id: Int, since: BootTime)
        /// A segment is fetched whose bytes tell what the numbers of this playlist mean.
        case probing(id: Int, number: UInt64, MediaPlaylist, since: BootTime)
        /// Nothing will be added to the playlist.
        case ended
        case failed(HLSError)
    }

    /// - Throws: `HLSError` when the address may not be requested, or libcurl does not start.
    package init(
        _ url: URL,
        _ settings: Settings,
        from position: Position? = nil
    ) throws(HLSError) {
        do throws(URLPolicyError) {
            try URLPolicy.check(url, from: nil)
        } catch {
            throw HLSError(error.description)
        }
        do throws(FetchError) {
            transfers = try Transfers(
                headers: settings.headers,
                userAgent: settings.userAgent,
                policy: AddressPolicy(settings.addressExceptions, origin: position?.origin)
            )
        } catch {
            throw HLSError("\(error)")
        }
        self.settings = settings
        tracker =
            position?.tracker
            ?? PlaylistTracker(
                minReloadInterval: settings.minReloadInterval,
                from: settings.startPoint
            )
        address = PlaylistAddress(url, settings.quality)
        reloads = ReloadPolicy(settings.failures)
        queue = SegmentQueue(settings.segments)
        aligner = position?.aligner ?? PacketAligner()
    }

    /// Where the next reader of this stream is to continue.
    ///
    /// With `isInterrupted`, what the stream plays until then does not count as missed.
    package func position(isInterrupted: Bool) -> Position {
        var tracker = tracker.resumed(from: queue.first?.sequence)
        if isInterrupted { tracker.interrupted() }
        return Position(tracker: tracker, aligner: aligner, origin: transfers.policy.origin)
    }

    /// Waits for the next item; `.ended`, `.failed` and `.stopped` are the last ones.
    package mutating func next(until stop: StopSignal) -> Item {
        if hasReturnedFirst { queue.removeFirst() }
        hasReturnedFirst = false
        while true {
            if !events.isEmpty { return events.removeFirst() }
            if let segment = queue.first {
                let mayRefresh = mayReload(for: segment)
                if let outcome = queue.outcome(at: .now(), mayRefresh: mayRefresh) {
                    return item(for: segment, outcome)
                }
                if case .ended = load, queue.needsRefresh {
                    reloadedFor = segment.sequence
                    load = .due(at: .now())
                }
            }
            if stop.isRequested { return .stopped }
            if queue.first == nil {
                switch load {
                case .ended: return .ended
                case .failed(let error): return .failed(error)
                case .due, .active, .probing: break
                }
            }
            work(until: nil, or: stop)
        }
    }

    /// Loads and fetches until `deadline` or `stop`, while the caller cannot take the next segment.
    package mutating func wait(until deadline: BootTime, or stop: StopSignal) {
        while !stop.isRequested, BootTime.now() < deadline { work(until: deadline, or: stop) }
    }

    private mutating func item(for segment: MediaSegment, _ outcome: SegmentQueue.Outcome) -> Item {
        switch outcome {
        case .media(let unit):
            defer { (hasReturnedFirst, isBroken) = (true, false) }
            if let content = queue.firstContent { tracker.recorded(segment.sequence, content) }
            let isDiscontinuous = segment.isDiscontinuous || isBroken
            return .segment(
                aligned(unit, number: segment.sequence, isDiscontinuous),
                number: segment.sequence,
                isDiscontinuous: isDiscontinuous
            )
        case .missed(let failure):
            queue.removeFirst()
            if case .address = failure { events.append(.deviation(.address)) }
            isBroken = isBroken || segment.isDiscontinuous
            return .segmentFailed(
                number: segment.sequence,
                message: "\(failure) (\(segment.address.redacted))"
            )
        }
    }

    /// The segment, of a transport stream only its complete packets.
    private mutating func aligned(
        _ unit: MediaUnit,
        number: UInt64,
        _ isDiscontinuous: Bool
    ) -> MediaUnit {
        defer { latestNumber = number }
        note(unit.deviations)
        guard unit.container == .mpegTS else { return unit }
        var unit = unit
        let isNext = latestNumber.map { $0.addingWithSaturation(1) == number } ?? true
        var dropped = isNext && !isDiscontinuous ? 0 : aligner.reset()
        let aligned = aligner.packets(of: unit.media)
        unit.media = aligned.bytes
        dropped += aligned.dropped
        if dropped > 0 { events += [.bytesDropped(dropped), .deviation(.packets)] }
        return unit
    }

    private mutating func note(_ deviations: Set<PlaylistDeviation>) {
        events += deviations.sorted { $0.rawValue < $1.rawValue }.map { .deviation($0) }
    }

    /// Starts what is due, and waits until something ends, `deadline` or `stop`.
    private mutating func work(until deadline: BootTime?, or stop: StopSignal) {
        startDue(at: .now())
        if queue.waits > reportedWaits {
            events.append(.memoryFull(waits: queue.waits - reportedWaits))
            reportedWaits = queue.waits
            return
        }
        let next = [nextTime, deadline].compactMap(\.self).min()
        for ended in transfers.wait(until: next, or: stop) { take(ended, until: stop) }
    }

    /// Whether a load of the playlist may still bring another address for the segment; after its end there is one load more.
    private func mayReload(for segment: MediaSegment) -> Bool {
        switch load {
        case .due, .active, .probing: true
        case .ended: reloadedFor != segment.sequence
        case .failed: false
        }
    }

    /// When the playlist is to be loaded; earlier, where the next segment waits for its current address.
    private var loadTime: BootTime? {
        guard case .due(let time) = load, queue.count < Self.maxWaiting else { return nil }
        return queue.needsRefresh
            ? min(time, loadStart.advanced(by: settings.minReloadInterval)) : time
    }

    /// Starts a load of the playlist, and as many segments as may be fetched at a time.
    private mutating func startDue(at now: BootTime) {
        if let time = loadTime, time <= now {
            loadStart = now
            let request = FetchRequest(url: address.url(at: now), limits: settings.playlist)
            let role = address.isAtStart(at: now) ? AddressPolicy.Role.start : .variant
            load = .active(id: transfers.start(request, as: role), since: now)
        }
        while let request = queue.nextRequest(at: now) {
            let room = queue.reservation(for: request)
            queue.began(request, id: transfers.start(request, in: room))
        }
    }

    /// When to start something, if no transfer ends before.
    private var nextTime: BootTime? {
        var times = [queue.nextTime].compactMap(\.self)
        if let loadTime { times.append(loadTime) }
        return times.min()
    }

    private mutating func take(_ ended: Transfers.Ended, until stop: StopSignal) {
        if case .failure(.refusedAddress) = ended.result { events.append(.addressRefused) }
        if case .probing(ended.id, let number, let playlist, let start) = load {
            let content = (try? ended.result.get()).map { ContentHash($0.bytes) }
            return take(
                playlist,
                loadedAt: start,
                probe: PlaylistTracker.Probe(number: number, content: content)
            )
        }
        guard case .active(ended.id, let start) = load else {
            return queue.take(ended, at: .now())
        }
        do throws(LoadError) {
            switch try parse(ended.result, until: stop) {
            case .master(let master): try choose(from: master)
            case .media(let playlist): take(playlist, loadedAt: start)
            }
        } catch {
            // What the stop interrupts is no failure of the playlist.
            if !stop.isRequested { loadFailed(error, at: .now()) }
        }
    }

    private func parse(
        _ result: Result<FetchedBody, FetchError>,
        until stop: StopSignal
    ) throws(LoadError) -> Playlist {
        let body: FetchedBody
        do throws(FetchError) {
            body = try result.get()
        } catch {
            throw .fetch(error)
        }
        do throws(PlaylistError) {
            return try Playlist.parse(
                body.bytes,
                from: body.url,
                importing: address.variables,
                until: stop
            )
        } catch {
            throw .playlist(error)
        }
    }

    private mutating func choose(from master: MasterPlaylist) throws(LoadError) {
        note(master.deviations)
        do throws(PlaylistError) {
            let variant = try address.choose(from: master, at: .now())
            events.append(.variantChosen(variant.description))
        } catch {
            throw .playlist(error)
        }
        tracker.variantChanged()
        load = .due(at: .now())
    }

    private mutating func take(
        _ playlist: MediaPlaylist,
        loadedAt start: BootTime,
        probe: PlaylistTracker.Probe? = nil
    ) {
        reloads.succeeded()
        address.succeeded()
        if probe == nil { note(playlist.deviations) }
        var update = tracker.take(playlist, loadedAt: start, probe: probe)
        if let segment = update.probe {
            let number = segment.sequence
            if let requests = try? SegmentRequests(for: segment, settings.segments) {
                let id = transfers.start(requests.media)
                load = .probing(id: id, number: number, playlist, since: start)
                return
            }
            let unknown = PlaylistTracker.Probe(number: number, content: nil)
            update = tracker.take(playlist, loadedAt: start, probe: unknown)
        }
        if update.isRestarted {
            queue.refresh(from: [])
        } else {
            queue.refresh(from: update.current)
        }
        if update.isRenumbered { note([.numbering]) }
        if update.isRestarted { events.append(.restarted) }
        if update.missed > 0 { events.append(.missed(update.missed)) }
        if !update.segments.isEmpty, address.takeChange() {
            update.segments[0].isDiscontinuous = true
        }
        queue.append(update.segments)
        load = update.isLast ? .ended : .due(at: tracker.nextLoad)
    }

    private mutating func loadFailed(_ error: LoadError, at now: BootTime) {
        let message = "\(error) (\(address.url(at: now).redacted))"
        events.append(.loadFailed(error.kind, message: message))
        address.failed(with: error)
        switch reloads.failed(with: error, at: now) {
        case .retry(let time): load = .due(at: time)
        case .over: load = .ended
        case .giveUp: load = .failed(HLSError(message))
        }
    }
}

/// Why a load of a playlist failed; the raw value is the label of the metric.
package enum PlaylistFailure: String, CaseIterable, Sendable {
    case network, http, invalid
}

/// Why a stream cannot be recorded, in one line.
package struct HLSError: Error, Equatable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}
