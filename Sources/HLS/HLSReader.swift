package import Fetch
package import FoundationEssentials
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
    private var load = Load.due(at: .now())
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
    }

    /// Where the next reader of this stream is to continue.
    ///
    /// With `isInterrupted`, what the stream plays until then does not count as missed.
    package func position(isInterrupted: Bool) -> Position {
        var tracker = tracker.resumed(from: queue.first?.sequence)
        if isInterrupted { tracker.interrupted() }
        return Position(tracker: tracker, origin: transfers.policy.origin)
    }

    /// Waits for the next item; `.ended`, `.failed` and `.stopped` are the last ones.
    package mutating func next(until stop: StopSignal) -> Item {
        if hasReturnedFirst { queue.removeFirst() }
        hasReturnedFirst = false
        while true {
            if !events.isEmpty { return events.removeFirst() }
            if let segment = queue.first, let outcome = queue.outcome(at: .now()) {
                return item(for: segment, outcome)
            }
            if stop.isRequested { return .stopped }
            if queue.first == nil {
                switch load {
                case .ended: return .ended
                case .failed(let error): return .failed(error)
                case .due, .active: break
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
            return .segment(
                unit,
                number: segment.sequence,
                isDiscontinuous: segment.isDiscontinuous || isBroken
            )
        case .missed(let failure):
            queue.removeFirst()
            isBroken = isBroken || segment.isDiscontinuous
            return .segmentFailed(
                number: segment.sequence,
                message: "\(failure) (\(segment.address.redacted))"
            )
        }
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

    /// Starts a load of the playlist, and as many segments as may be fetched at a time.
    private mutating func startDue(at now: BootTime) {
        if case .due(let time) = load, time <= now, queue.count < Self.maxWaiting {
            let request = FetchRequest(url: address.url, limits: settings.playlist)
            let role = address.isAtStart ? AddressPolicy.Role.start : .variant
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
        if case .due(let time) = load, queue.count < Self.maxWaiting { times.append(time) }
        return times.min()
    }

    private mutating func take(_ ended: Transfers.Ended, until stop: StopSignal) {
        if case .failure(.refusedAddress) = ended.result { events.append(.addressRefused) }
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
            return try Playlist.parse(body.bytes, from: body.url, until: stop)
        } catch {
            throw .playlist(error)
        }
    }

    private mutating func choose(from master: MasterPlaylist) throws(LoadError) {
        do throws(PlaylistError) {
            events.append(.variantChosen(try address.choose(from: master).description))
        } catch {
            throw .playlist(error)
        }
        tracker.variantChanged()
        load = .due(at: .now())
    }

    private mutating func take(_ playlist: MediaPlaylist, loadedAt start: BootTime) {
        reloads.succeeded()
        address.succeeded()
        var update = tracker.take(playlist, loadedAt: start)
        if update.isRestarted { events.append(.restarted) }
        if update.missed > 0 { events.append(.missed(update.missed)) }
        if !update.segments.isEmpty, address.takeChange() {
            update.segments[0].isDiscontinuous = true
        }
        queue.append(update.segments)
        load = update.isLast ? .ended : .due(at: tracker.nextLoad)
    }

    private mutating func loadFailed(_ error: LoadError, at now: BootTime) {
        let message = "\(error) (\(address.url.redacted))"
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
