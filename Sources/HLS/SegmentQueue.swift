import Fetch
import Posix

/// The segments between the playlist and the file: fetched several at a time, returned in order and only complete; pure.
///
/// Returns requests and times, and gets the bodies. A key or a header that several segments need is fetched once.
struct SegmentQueue {
    struct Settings: Sendable {
        /// Requests at the same time.
        var width = 3
        /// Bytes that may wait for an earlier segment; while there are so many, no other segment is begun.
        var heldBytes = 32 << 20
        /// Segments that may be fetched or wait.
        var depth = 32
        var segment = FetchLimits(bytes: 64 << 20, timeout: .seconds(30))
        var map = FetchLimits(bytes: 1 << 20, timeout: .seconds(10))
        var key = FetchLimits(bytes: 256, timeout: .seconds(10))
        var download = Download.Settings()
        /// Shared by all streams.
        var memory = SegmentMemory()
    }

    /// The result for the first segment.
    enum Outcome: Equatable {
        case media(MediaUnit)
        case missed(SegmentFailure)
    }

    private let settings: Settings
    private var segments: ArraySlice<MediaSegment> = []
    /// The requests of the first segments: those that have been begun.
    private var begun: ArraySlice<Result<SegmentRequests, URLPolicyError>> = []
    private var downloads: [FetchRequest: Download] = [:]
    /// The expected size of a segment; estimated from those before.
    private var expectedBytes = 1 << 20
    /// How often a segment waited for room in the memory of all streams.
    private(set) var waits = 0
    private var isWaiting = false
    private var refreshes = 0
    /// The number of refreshes when the address of the first segment was refused.
    private var refusedAt: Int?

    init(_ settings: Settings) {
        self.settings = settings
    }

    var first: MediaSegment? { segments.first }
    var count: Int { segments.count }

    mutating func append(_ new: [MediaSegment]) {
        segments += new
    }

    /// Whether the first segment waits for its current address: the one that was requested is refused.
    var needsRefresh: Bool { refusedAt == refreshes }

    /// Takes over the current addresses of waiting segments, by their numbers: tokens expire, and servers change.
    mutating func refresh(from playlist: [MediaSegment]) {
        refreshes += 1
        guard let first = playlist.first?.sequence else { return }
        var replaced: Set<FetchRequest> = []
        for index in segments.indices {
            let place = segments[index].sequence &- first
            guard place < UInt64(playlist.count) else { continue }
            var current = playlist[Int(place)]
            current.isDiscontinuous = segments[index].isDiscontinuous
            guard current != segments[index] else { continue }
            let begunIndex = begun.startIndex + (index - segments.startIndex)
            if begunIndex < begun.endIndex {
                guard mayReplace(begun[begunIndex]) else { continue }
                replaced.formUnion((try? begun[begunIndex].get().all) ?? [])
                begun[begunIndex] = Result { () throws(URLPolicyError) in
                    try SegmentRequests(for: current, settings)
                }
                if index == segments.startIndex { refusedAt = nil }
            }
            segments[index] = current
        }
        replaced.subtract(begun.flatMap { (try? $0.get().all) ?? [] })
        for request in replaced { downloads[request] = nil }
    }

    /// Whether nothing of the segment's media has been received or is being received.
    private func mayReplace(_ requests: Result<SegmentRequests, URLPolicyError>) -> Bool {
        guard case .success(let requests) = requests else { return true }
        return requests.all.contains { downloads[$0]?.hasFailed ?? false }
            || downloads[requests.media]?.isStarted != true
    }

    /// The next request to start at `now`; `nil` if none is due, or as many as allowed are active.
    mutating func nextRequest(at now: BootTime) -> FetchRequest? {
        for index in 0..<min(segments.count, settings.depth) {
            // The next segment in order waits neither for a free request nor for room.
            let isNext = index == 0
            guard isNext || !isFull, index < begun.count || begin() else { return nil }
            guard case .success(let requests) = begun[begun.startIndex + index] else { continue }
            for request in requests.all {
                // One that failed for an earlier segment is created again.
                let download = downloads[request] ?? newDownload()
                downloads[request] = download
                if isNext { download.reservation.mayExceedLimit = true }
                if let due = download.dueTime, due <= now { return request }
            }
        }
        return nil
    }

    /// Begins another segment; `false` if there is no room for it now.
    private mutating func begin() -> Bool {
        let isNext = begun.isEmpty
        guard isNext || heldBytes < settings.heldBytes else { return false }
        let segment = segments[segments.startIndex + begun.count]
        let requests = Result { () throws(URLPolicyError) in
            try SegmentRequests(for: segment, settings)
        }
        if case .success(let requests) = requests {
            let new = requests.all.filter { downloads[$0] == nil }.map { request in
                (request, newDownload())
            }
            let media = new.first { $0.0 == requests.media }?.1.reservation
            let expected = min(segment.range?.count ?? expectedBytes, settings.segment.bytes)
            guard isNext || media?.cover(expected) ?? true else {
                noteWait()
                return false
            }
            for (request, download) in new { downloads[request] = download }
        }
        isWaiting = false
        begun.append(requests)
        return true
    }

    private func newDownload() -> Download {
        Download(settings.download, MemoryReservation(of: settings.memory))
    }

    private mutating func noteWait() {
        if !isWaiting { waits += 1 }
        isWaiting = true
    }

    /// Whether another request must wait until one ends.
    private var isFull: Bool { downloads.values.count(where: \.isUnderWay) >= settings.width }

    /// The memory for the body of a request.
    func reservation(for request: FetchRequest) -> MemoryReservation? {
        downloads[request]?.reservation
    }

    mutating func began(_ request: FetchRequest, id: Int) {
        downloads[request]?.began(id: id)
    }

    /// Records the result of a request, if it is one of the queue's.
    mutating func take(_ ended: Transfers.Ended, at now: BootTime) {
        let mine = downloads.first { _, download in
            if case .active(ended.id) = download.state { true } else { false }
        }
        guard let request = mine?.key else { return }
        downloads[request]?.ended(ended.result, at: now)
        switch ended.result {
        case .success(let body) where request.limits == settings.segment:
            expectedBytes = max(expectedBytes / 8 * 7, body.bytes.count)
        case .failure(.noRoom): waits += 1
        case .success, .failure: break
        }
    }

    /// When the next pause between two attempts ends, and a request may start.
    var nextTime: BootTime? {
        guard isFull else { return downloads.values.compactMap(\.dueTime).min() }
        guard case .success(let requests)? = begun.first else { return nil }
        return requests.all.compactMap { downloads[$0]?.dueTime }.min()
    }

    /// The result for the first segment; `nil` while it is not complete.
    ///
    /// With `mayRefresh`, a segment whose address is refused waits for the next load of the playlist before it is missed.
    mutating func outcome(at now: BootTime, mayRefresh: Bool = false) -> Outcome? {
        guard let segment = segments.first, let requests = begun.first else { return nil }
        guard !segment.isUnreadable else { return .missed(.unreadable) }
        do throws(URLPolicyError) {
            return outcome(of: segment, try requests.get(), at: now, mayRefresh)
        } catch {
            return .missed(.address(error))
        }
    }

    private mutating func outcome(
        of segment: MediaSegment,
        _ requests: SegmentRequests,
        at now: BootTime,
        _ mayRefresh: Bool
    ) -> Outcome? {
        do throws(SegmentFailure) {
            return try MediaUnit.assemble(segment, requests, downloads).map { .media($0) }
        } catch {
            if mayRefresh, error.isOfAddress, refusedAt ?? refreshes == refreshes {
                refusedAt = refreshes
                return nil
            }
            return isRetried(requests, after: error, at: now) ? nil : .missed(error)
        }
    }

    /// Removes the first segment; keeps its key and header, because the next may need them too.
    mutating func removeFirst() {
        refusedAt = nil
        guard segments.popFirst() != nil, let gone = try? begun.popFirst()?.get() else { return }
        let used = Set(gone.all)
        let needed = Set(begun.flatMap { (try? $0.get().all) ?? [] })
        downloads = downloads.filter { request, download in
            // What has failed for one segment is attempted again for the next.
            if used.contains(request), download.hasFailed { return false }
            return needed.contains(request) || (used.contains(request) && request != gone.media)
        }
    }

    /// What the bytes of the first segment are recognized by, as they were received.
    var firstContent: ContentHash? {
        guard case .success(let requests)? = begun.first,
            let bytes = try? downloads[requests.media]?.bytes()
        else { return nil }
        return ContentHash(bytes)
    }

    private var heldBytes: Int {
        downloads.values.reduce(0) { held, download in
            if case .arrived(let bytes) = download.state { held + bytes.count } else { held }
        }
    }
}

extension SegmentQueue {
    /// Fetches again what arrived but cannot be used: an error page with status 200, or a key that was replaced.
    private mutating func isRetried(
        _ requests: SegmentRequests,
        after error: SegmentFailure,
        at now: BootTime
    ) -> Bool {
        let suspects: [FetchRequest]
        switch error {
        case .address, .unreadable, .fetch, .key, .map: return false
        case .notTransportStream, .notFragments:
            suspects = requests.key == nil ? [requests.media] : requests.all
        case .notHeader, .keySize, .decryption: suspects = requests.all
        }
        return suspects.reduce(true) { isTried, request in
            (downloads[request]?.rejected(at: now) ?? false) && isTried
        }
    }
}

/// The requests that a segment needs.
struct SegmentRequests {
    let media: FetchRequest
    /// The header.
    private(set) var map: FetchRequest?
    private(set) var mapKey: FetchRequest?
    private(set) var key: FetchRequest?

    init(
        for segment: MediaSegment,
        _ settings: SegmentQueue.Settings
    ) throws(URLPolicyError) {
        media = FetchRequest(
            url: try segment.address.resolved(),
            range: segment.range,
            limits: settings.segment
        )
        if let section = segment.map {
            let url = try section.address.resolved()
            map = FetchRequest(url: url, range: section.range, limits: settings.map)
        }
        mapKey = try Self.request(for: segment.map?.key, settings)
        key = try Self.request(for: segment.key, settings)
    }

    /// `nil` where no key is needed, or the playlist itself contains it.
    private static func request(
        for key: SegmentKey?,
        _ settings: SegmentQueue.Settings
    ) throws(URLPolicyError) -> FetchRequest? {
        guard case .address(let reference)? = key?.source else { return nil }
        return FetchRequest(url: try reference.resolved(), limits: settings.key)
    }

    /// In the order in which they are sent.
    var all: [FetchRequest] { [mapKey, key, map].compactMap(\.self) + [media] }
}

/// The download of a resource, with retries where they may help.
struct Download {
    struct Settings: Equatable, Sendable {
        /// How often it is requested at most.
        var maxAttempts = 3
        /// Doubles with each attempt.
        var firstPause = Duration.milliseconds(500)
    }

    enum State {
        case due(at: BootTime)
        case active(id: Int)
        /// Interrupted for lack of memory, until it is the next in order.
        case postponed
        case arrived([UInt8])
        case failed(FetchError)
    }

    private(set) var state = State.due(at: BootTime(nanoseconds: 0))
    /// The memory for the body.
    let reservation: MemoryReservation
    private let settings: Settings
    private var attempts = 0

    init(_ settings: Settings, _ reservation: MemoryReservation) {
        (self.settings, self.reservation) = (settings, reservation)
    }

    mutating func began(id: Int) {
        attempts += 1
        state = .active(id: id)
    }

    mutating func ended(_ result: Result<FetchedBody, FetchError>, at now: BootTime) {
        reservation.settle(at: (try? result.get().bytes.count) ?? 0)
        switch result {
        case .success(let body): state = .arrived(body.bytes)
        case .failure(.noRoom):
            attempts -= 1
            state = .postponed
        case .failure(let error) where error.isWorthRetrying && attempts < settings.maxAttempts:
            state = .due(at: error.retryTime(after: pause, from: now))
        case .failure(let error): state = .failed(error)
        }
    }

    /// What arrived cannot be used; whether it is fetched once more, or still being fetched.
    mutating func rejected(at now: BootTime) -> Bool {
        guard case .arrived = state else { return true }
        guard attempts < settings.maxAttempts else { return false }
        state = .due(at: now.advanced(by: pause))
        return true
    }

    private var pause: Duration { settings.firstPause * (1 << max(0, attempts - 1)) }

    var isUnderWay: Bool {
        if case .active = state { true } else { false }
    }

    var hasFailed: Bool {
        if case .failed = state { true } else { false }
    }

    /// Whether it is being fetched, or has been.
    var isStarted: Bool {
        switch state {
        case .active, .arrived: true
        case .due, .postponed, .failed: false
        }
    }

    /// When to start; `nil` if it need not be started.
    var dueTime: BootTime? {
        switch state {
        case .due(let time): time
        case .postponed: reservation.mayExceedLimit ? BootTime(nanoseconds: 0) : nil
        case .active, .arrived, .failed: nil
        }
    }

    /// The body; `nil` while it is being fetched.
    func bytes() throws(FetchError) -> [UInt8]? {
        switch state {
        case .due, .active, .postponed: nil
        case .arrived(let bytes): bytes
        case .failed(let error): throw error
        }
    }
}

extension FetchError {
    fileprivate var isWorthRetrying: Bool {
        switch self {
        case .cancelled, .tooLarge, .refusedRedirect, .refusedAddress, .noRoom: false
        case .network, .timedOut, .http, .truncated: !isGone
        }
    }
}
