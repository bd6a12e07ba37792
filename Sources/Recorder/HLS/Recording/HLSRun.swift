import Fetch
import FoundationEssentials
import Posix

/// One recording of an HLS stream: loads the playlist, fetches what is new, delivers it in order; all on one thread.
struct HLSRun {
    private let source: HLSSource
    private let sink: any MediaSink
    private let stop: StopSignal
    private let transfers: Transfers
    private var tracker: PlaylistTracker
    private var route: PlaylistRoute
    private var failures: LoadFailures
    private var queue: SegmentQueue
    private var parts: PartWriter
    private var load = Load.due(at: .now())
    /// When a segment may be written for which there is no file yet.
    private var writeTime: BootTime?
    private var reportedWaits = 0

    /// How the playlist stands.
    private enum Load {
        case due(at: BootTime)
        case underWay(id: Int, since: BootTime)
        /// Nothing more is to be expected, for this reason if one is given.
        case over(SourceError?)
    }

    init(
        source: HLSSource,
        tracker: PlaylistTracker,
        sink: any MediaSink,
        stop: StopSignal
    ) throws(SourceError) {
        do throws(FetchError) {
            transfers = try Transfers(
                headers: source.settings.headers,
                userAgent: userAgent,
                policy: AddressPolicy(source.settings.addressExceptions, origin: source.origin)
            )
        } catch {
            throw .stream("\(error)")
        }
        (self.source, self.sink, self.stop, self.tracker) = (source, sink, stop, tracker)
        route = PlaylistRoute(to: source.url, source.settings.quality)
        failures = LoadFailures(source.settings.failures)
        queue = SegmentQueue(source.settings.segments)
        parts = PartWriter(into: sink)
    }

    /// The place that this run has come to.
    var progress: PlaylistTracker { tracker.resumed(from: queue.first?.sequence) }

    /// Where the configured address was answered from.
    var origin: ServerPlace? { transfers.policy.origin }

    mutating func finish() throws(SourceError) -> SourceEnd {
        while !stop.isRequested {
            if case .over(let error) = load, queue.first == nil {
                if let error { throw error }
                return .finished
            }
            startDue(at: .now())
            reportWaits()
            for ended in transfers.wait(until: nextTime, or: stop) { take(ended) }
            try deliver()
        }
        return .stopped
    }

    /// Starts what is due: the playlist, and as many segments as there may be at a time.
    private mutating func startDue(at now: BootTime) {
        if case .due(let time) = load, time <= now, queue.count < HLSSource.mostWaiting {
            let limits = source.settings.playlist
            let request = FetchRequest(url: route.address, range: nil, limits: limits)
            let role = route.isAtStart ? AddressPolicy.Role.start : .variant
            load = .underWay(id: transfers.start(request, as: role), since: now)
        }
        while let request = queue.nextRequest(at: now) {
            let room = queue.reservation(for: request)
            queue.began(request, id: transfers.start(request, in: room))
        }
    }

    /// When something is due that nobody else announces.
    private var nextTime: BootTime? {
        var times = [queue.nextTime, writeTime].compactMap(\.self)
        if case .due(let time) = load, queue.count < HLSSource.mostWaiting { times.append(time) }
        return times.min()
    }

    private mutating func reportWaits() {
        guard queue.waits > reportedWaits else { return }
        sink.note(.segmentsWaited(queue.waits - reportedWaits))
        reportedWaits = queue.waits
    }

    private mutating func take(_ ended: Transfers.Ended) {
        if case .failure(.refusedAddress) = ended.result { sink.note(.addressRefused) }
        guard case .underWay(ended.id, let start) = load else {
            return queue.take(ended, at: .now())
        }
        do throws(LoadError) {
            try takePlaylist(ended.result, loadedAt: start)
        } catch {
            // What the stop has broken off is no failure of the playlist.
            if !stop.isRequested { failed(with: error, at: .now()) }
        }
    }
}

extension HLSRun {
    private mutating func takePlaylist(
        _ result: Result<FetchedBody, FetchError>,
        loadedAt start: BootTime
    ) throws(LoadError) {
        switch try parse(result) {
        case .master(let master): try choose(from: master)
        case .media(let playlist): take(playlist, loadedAt: start)
        }
    }

    private func parse(_ result: Result<FetchedBody, FetchError>) throws(LoadError) -> Playlist {
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
            sink.note(.variantChosen(try route.take(master).description))
        } catch {
            throw .playlist(error)
        }
        tracker.moved()
        load = .due(at: .now())
    }

    private mutating func take(_ playlist: MediaPlaylist, loadedAt start: BootTime) {
        failures.succeeded()
        route.arrived()
        var update = tracker.take(playlist, loadedAt: start)
        if update.isReset { sink.note(.sequenceReset) }
        if update.missed > 0 { sink.note(.segmentsMissed(update.missed)) }
        if !update.segments.isEmpty, route.takeChange() {
            update.segments[0].isDiscontinuous = true
        }
        queue.append(update.segments)
        load = update.isLast ? .over(nil) : .due(at: tracker.nextLoad)
    }

    private mutating func failed(with error: LoadError, at now: BootTime) {
        sink.note(.playlistFailed(error.kind))
        let reason = "\(error) (\(route.address.forLog))"
        source.log(HLSSource.lineOfFailedLoad(because: reason))
        route.failed(with: error)
        switch failures.failed(with: error, at: now) {
        case .retry(let time): load = .due(at: time)
        case .over: load = .over(nil)
        case .giveUp: load = .over(.stream(reason))
        }
    }
}

extension HLSRun {
    /// Writes the segments whose turn it is, and notes those that could not be had.
    private mutating func deliver() throws(SourceError) {
        writeTime = nil
        while let segment = queue.first, let outcome = queue.outcome(at: .now()) {
            switch outcome {
            case .media(let unit):
                writeTime = parts.dueTime(of: unit, at: .now())
                guard writeTime == nil else { return }
                try write(unit, of: segment)
            case .missed(let error): miss(segment, error)
            }
            queue.removeFirst()
        }
    }

    private mutating func write(
        _ unit: MediaUnit,
        of segment: MediaSegment
    ) throws(SourceError) {
        do throws(SystemError) {
            try parts.write(unit, of: segment)
        } catch {
            throw .sink(error)
        }
        sink.note(.segmentWritten)
    }

    private mutating func miss(_ segment: MediaSegment, _ error: SegmentError) {
        parts.skip(segment)
        sink.note(.segmentsMissed(1))
        let address = segment.address.forLog
        source.log("Segment \(segment.sequence) missed: \(error) (\(address))")
    }
}
