import Posix

/// The segments between the playlist and the file: fetched several at a time, given out in order, and only whole.
///
/// Pure: requests and times go out, bodies come in. A key or a header that several segments need is fetched once.
struct SegmentQueue {
    struct Settings: Equatable, Sendable {
        /// Requests at the same time.
        var width = 3
        /// Bytes that may wait for a segment before them; more is not begun while there are so many.
        var heldBytes = 32 << 20
        /// Segments that may be on their way or wait.
        var depth = 32
        var segment = Fetcher.Limits(bytes: 64 << 20, timeout: .seconds(30))
        var map = Fetcher.Limits(bytes: 1 << 20, timeout: .seconds(10))
        var key = Fetcher.Limits(bytes: 256, timeout: .seconds(10))
        var download = Download.Settings()
    }

    /// What has become of the segment whose turn it is.
    enum Outcome: Equatable {
        case media(MediaUnit)
        case missed(SegmentError)
    }

    private let settings: Settings
    private var segments: ArraySlice<MediaSegment> = []
    /// How many of the first segments have been begun.
    private var begun = 0
    private var downloads: [FetchRequest: Download] = [:]

    init(_ settings: Settings) {
        self.settings = settings
    }

    var first: MediaSegment? { segments.first }
    var count: Int { segments.count }

    mutating func append(_ new: [MediaSegment]) {
        segments += new
    }

    /// The next request to start at `now`; `nil` when none is due, or as many as may be are under way.
    mutating func nextRequest(at now: BootTime) -> FetchRequest? {
        guard !isFull else { return nil }
        var index = 0
        while index < segments.count, index < begun || mayBegin {
            begun = max(begun, index + 1)
            for request in settings.requests(for: segments[segments.startIndex + index]) {
                let download = downloads[request] ?? Download(settings.download)
                downloads[request] = download
                if let due = download.dueTime, due <= now { return request }
            }
            index += 1
        }
        return nil
    }

    /// Whether the end of a request has to be waited for, before another may start.
    private var isFull: Bool { downloads.values.count(where: \.isUnderWay) >= settings.width }

    private var mayBegin: Bool { begun < settings.depth && heldBytes < settings.heldBytes }

    mutating func began(_ request: FetchRequest, id: Int) {
        downloads[request]?.began(id: id)
    }

    /// Takes the end of a request, if it is one of these.
    mutating func take(_ ended: Transfers.Ended, at now: BootTime) {
        let mine = downloads.first { _, download in
            if case .underWay(ended.id) = download.state { true } else { false }
        }
        guard let request = mine?.key else { return }
        downloads[request]?.ended(ended.result, at: now)
    }

    /// When the next pause between two tries is over, and a request may start.
    var nextTime: BootTime? { isFull ? nil : downloads.values.compactMap(\.dueTime).min() }

    /// What has become of the first segment; `nil` while that is not known.
    mutating func outcome(at now: BootTime) -> Outcome? {
        guard let segment = segments.first else { return nil }
        do throws(SegmentError) {
            let assembly = SegmentAssembly(settings: settings, downloads: downloads)
            return try assembly.unit(of: segment).map { .media($0) }
        } catch {
            return isTriedAgain(segment, after: error, at: now) ? nil : .missed(error)
        }
    }

    /// Lets go of the first segment; a key or header that it needed is kept, for the next may need it too.
    mutating func removeFirst() {
        guard let gone = segments.popFirst() else { return }
        begun -= 1
        let media = settings.request(for: gone)
        let used = Set(settings.requests(for: gone))
        let needed = Set(segments.prefix(begun).flatMap(settings.requests))
        downloads = downloads.filter { request, download in
            // What has failed for one segment gets new tries for the next.
            if used.contains(request), download.hasFailed { return false }
            return needed.contains(request) || (used.contains(request) && request != media)
        }
    }

    private var heldBytes: Int {
        downloads.values.reduce(0) { held, download in
            if case .arrived(let bytes) = download.state { held + bytes.count } else { held }
        }
    }
}

extension SegmentQueue {
    /// Fetches again what arrived and was of no use: an error page with status 200, or a key that was replaced.
    private mutating func isTriedAgain(
        _ segment: MediaSegment,
        after error: SegmentError,
        at now: BootTime
    ) -> Bool {
        let suspects: [FetchRequest]
        switch error {
        case .fetch, .key, .map: return false
        case .notTransportStream, .notFragments: suspects = [settings.request(for: segment)]
        case .notHeader, .keySize, .decryption: suspects = settings.requests(for: segment)
        }
        return suspects.reduce(true) { isTried, request in
            (downloads[request]?.rejected(at: now) ?? false) && isTried
        }
    }
}
