import Fetch
import FoundationEssentials
import Posix
import Synchronization

/// A live or finished HLS stream, by the address of its playlist.
struct HLSSource: MediaSource {
    /// How patient the source is, and what it may take; each has a default that fits live streams.
    struct Settings: Sendable {
        /// Sent with every request.
        var headers: [String: String] = [:]
        /// Private addresses that playlists of a public origin may name.
        var addressExceptions = AddressExceptions()
        /// Of a master playlist's variants.
        var quality = Quality.best
        var startPoint = StartPoint.start
        var playlist = Fetcher.Limits(bytes: 4 << 20, timeout: .seconds(10))
        var segments = SegmentQueue.Settings()
        var failures = LoadFailures.Settings()
        /// The shortest time between two loads of the playlist.
        var reloadFloor = Duration.milliseconds(500)
    }

    /// Segments that may wait to be fetched before the playlist is loaded again.
    static let mostWaiting = 1000

    let url: URL
    var settings = Settings()
    /// Takes a line about each thing that went wrong on the way.
    let log: @Sendable (String) -> Void
    /// Where earlier runs have come to: a run that follows a silence or a failure writes nothing twice.
    private let progress = Progress()

    /// The tracker of the last run.
    private final class Progress: Sendable {
        let tracker = Mutex<PlaylistTracker?>(nil)
        let origin = Mutex<ServerPlace?>(nil)
    }

    /// Where earlier runs found the configured address.
    var origin: ServerPlace? { progress.origin.withLock { $0 } }

    /// What `log` gets for a playlist that was not loaded; the source ends with the same reason when it gives up.
    static func lineOfFailedLoad(because reason: String) -> String {
        "Playlist not loaded: \(reason)"
    }

    init(url: URL, settings: Settings = Settings(), log: @escaping @Sendable (String) -> Void) {
        (self.url, self.settings, self.log) = (url, settings, log)
    }

    func run(into sink: any MediaSink, until stop: StopSignal) throws(SourceError) -> SourceEnd {
        do throws(AddressError) {
            try MediaAddress.check(url, from: nil)
        } catch {
            throw .stream(error.description)
        }
        let fresh = PlaylistTracker(floor: settings.reloadFloor, from: settings.startPoint)
        let tracker = progress.tracker.withLock { $0 } ?? fresh
        var run = try HLSRun(source: self, tracker: tracker, sink: sink, stop: stop)
        defer {
            var place = run.progress
            if stop.isRequested { place.left() }
            progress.tracker.withLock { $0 = place }
            progress.origin.withLock { $0 = run.origin }
        }
        return try run.finish()
    }
}
