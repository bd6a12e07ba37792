import Foundation
import Posix

/// One recording of an HLS stream: loads the playlist, fetches what is new, delivers it in order.
struct HLSRun {
    private let source: HLSSource
    private let sink: any MediaSink
    private let stop: StopSignal
    private let fetcher: Fetcher
    private(set) var tracker: PlaylistTracker
    private var failures: LoadFailures

    init(source: HLSSource, tracker: PlaylistTracker, sink: any MediaSink, stop: StopSignal) {
        (self.source, self.sink, self.stop) = (source, sink, stop)
        fetcher = Fetcher(headers: source.settings.headers)
        self.tracker = tracker
        failures = LoadFailures(source.settings.failures)
    }

    mutating func finish() throws(SourceError) -> SourceEnd {
        while !stop.isRequested {
            switch try next() {
            case .wait(let time): _ = stop.wait(until: time)
            case .over: return .finished
            }
        }
        return .stopped
    }

    /// What follows a load of the playlist.
    private enum Step {
        case wait(until: BootTime)
        case over
    }

    private mutating func next() throws(SourceError) -> Step {
        let start = BootTime.now()
        let playlist: MediaPlaylist
        do throws(LoadError) {
            playlist = try loadPlaylist()
        } catch {
            return try step(after: error)
        }
        failures.succeeded()
        let update = tracker.take(playlist, loadedAt: start)
        try record(update)
        return update.isLast && !stop.isRequested ? .over : .wait(until: tracker.nextLoad)
    }

    private func loadPlaylist() throws(LoadError) -> MediaPlaylist {
        let body: FetchedBody
        do throws(FetchError) {
            body = try fetcher.get(source.url, limits: source.settings.playlist, until: stop)
        } catch {
            throw .fetch(error)
        }
        do throws(PlaylistError) {
            return try PlaylistParser.parse(body.bytes, from: body.url)
        } catch {
            throw .playlist(error)
        }
    }

    private mutating func step(after error: LoadError) throws(SourceError) -> Step {
        let now = BootTime.now()
        if error == .fetch(.cancelled) { return .wait(until: now) }
        sink.note(.playlistFailed(error.kind))
        logFailure(of: source.url, error)
        switch failures.failed(with: error, at: now) {
        case .retry(let time): return .wait(until: time)
        case .over: return .over
        case .giveUp: throw .stream("\(error) (\(source.url.forLog))")
        }
    }
}

extension HLSRun {
    private mutating func record(_ update: PlaylistTracker.Update) throws(SourceError) {
        if update.isReset { sink.note(.sequenceReset) }
        if update.missed > 0 { sink.note(.segmentsMissed(update.missed)) }
        for segment in update.segments {
            tracker.begin(segment)
            guard try record(segment) else { return }
        }
        tracker.completeAll()
    }

    /// Appends one segment, or notes that it could not be had; `false` when a stop has come first.
    private func record(_ segment: MediaSegment) throws(SourceError) -> Bool {
        switch fetch(segment) {
        case .success(let media):
            do throws(SystemError) {
                try sink.append(media.span)
            } catch {
                throw .sink(error)
            }
            sink.note(.segmentWritten)
        case .failure(.fetch(.cancelled)): return false
        case .failure(let error):
            sink.note(.segmentsMissed(1))
            logMiss(of: segment, error)
        }
        return true
    }

    /// Tries several times, with pauses that a stop cuts short.
    private func fetch(_ segment: MediaSegment) -> Result<[UInt8], SegmentError> {
        var pause = source.settings.failures.firstPause
        var tries = 1
        while true {
            let result = Result { () throws(SegmentError) in try fetchOnce(segment) }
            guard case .failure(let error) = result, error.isWorthRetrying,
                tries < source.settings.segmentTries
            else { return result }
            if stop.wait(until: .now().advanced(by: pause)) { return .failure(.fetch(.cancelled)) }
            (tries, pause) = (tries + 1, pause * 2)
        }
    }

    private func fetchOnce(_ segment: MediaSegment) throws(SegmentError) -> [UInt8] {
        let body: FetchedBody
        do throws(FetchError) {
            body = try fetcher.get(segment.url, limits: source.settings.segment, until: stop)
        } catch {
            throw .fetch(error)
        }
        guard TransportStream.isWhole(body.bytes.span) else {
            throw .notTransportStream(bytes: body.bytes.count)
        }
        return body.bytes
    }

    private func logFailure(of url: URL, _ error: LoadError) {
        source.log("Playlist not loaded address=\(url.forLog) reason=\"\(error)\"")
    }

    private func logMiss(of segment: MediaSegment, _ error: SegmentError) {
        let address = segment.url.forLog
        source.log(
            "Segment missed sequence=\(segment.sequence) address=\(address) reason=\"\(error)\""
        )
    }
}

/// Why a segment could not be had.
private enum SegmentError: Error, Equatable, CustomStringConvertible {
    case fetch(FetchError)
    case notTransportStream(bytes: Int)

    var isWorthRetrying: Bool {
        switch self {
        case .fetch(.cancelled), .fetch(.tooLarge), .fetch(.refusedRedirect): false
        case .fetch(let error): !error.isGone
        case .notTransportStream: true
        }
    }

    var description: String {
        switch self {
        case .fetch(let error): error.description
        case .notTransportStream(let bytes): "\(bytes) bytes that are not a transport stream"
        }
    }
}
