import Foundation
import FuzzSupport
import Posix

@testable import Fetch
@testable import HLS
@testable import Media
@testable import Recorder

/// Several loads of one stream, what was fetched in between, and the files that come of it: numbers add up, and nothing traps.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzSequence(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard let base = URL(string: "http://h.test/live/x.m3u8") else { return 0 }
    var stream = FollowedStream()
    // A zero ends a load; the byte after it decides what happens until the next.
    for load in input(start, count).split(separator: 0, maxSplits: 7) {
        let (choice, text) = (load.first ?? 0, load.dropFirst())
        stream.pass(choice)
        guard case .media(let playlist)? = try? Playlist.parse(Array(text), from: base) else {
            continue
        }
        stream.take(playlist)
        stream.fetchAndWrite(choice)
    }
    return 0
}

private struct FollowedStream {
    private let memory = SegmentMemory(limit: 1 << 20)
    private var tracker = PlaylistTracker()
    private var queue: SegmentQueue
    private var parts = PartSequence()
    private var isBroken = false
    private var now = BootTime(nanoseconds: 1_000_000_000)
    private var id = 0

    init() {
        var settings = SegmentQueue.Settings()
        settings.memory = memory
        queue = SegmentQueue(settings)
    }

    mutating func pass(_ choice: UInt8) {
        switch choice & 7 {
        case 0: tracker.interrupted()
        case 1: tracker.variantChanged()
        case 2: tracker = tracker.resumed(from: queue.first?.sequence)
        default: break
        }
        now = now.advanced(by: .seconds(Int(choice >> 4)))
    }

    mutating func take(_ playlist: MediaPlaylist) {
        let update = tracker.take(playlist, loadedAt: now)
        require(update.missed >= 0 && update.missed < 20_000, "\(update.missed) missed")
        require(tracker.nextLoad > now, "a pause before the next load")
        require(tracker.nextLoad.since(now) <= .seconds(60), "no longer than a minute")
        for (one, next) in zip(update.segments, update.segments.dropFirst()) {
            require(one.sequence < next.sequence, "numbers that grow")
        }
        queue.append(update.segments)
    }

    /// Answers each request, and writes what comes of it.
    mutating func fetchAndWrite(_ choice: UInt8) {
        var rounds = 0
        while let segment = queue.first {
            rounds += 1
            require(rounds < 4096, "the queue comes to its end")
            while let request = queue.nextRequest(at: now) {
                id += 1
                queue.began(request, id: id)
                queue.take(
                    .init(id: id, result: answer(to: request, choice &+ UInt8(id & 3))),
                    at: now
                )
            }
            if let outcome = queue.outcome(at: now) {
                write(outcome, of: segment)
                queue.removeFirst()
            }
            now = now.advanced(by: .milliseconds(500))
        }
        queue.append([])
        require(memory.usedBytes <= 4 << 20, "memory is given back: \(memory.usedBytes)")
    }

    private mutating func write(_ outcome: SegmentQueue.Outcome, of segment: MediaSegment) {
        switch outcome {
        case .missed: isBroken = isBroken || segment.isDiscontinuous
        case .media(let unit):
            now = parts.dueTime(of: unit, at: now) ?? now
            let placement = parts.place(
                unit,
                number: segment.sequence,
                isDiscontinuous: isBroken || segment.isDiscontinuous,
                at: now
            )
            isBroken = false
            require(!placement.beginsPart || !placement.isJoined, "a new part, or the current one")
        }
    }

    private func answer(
        to request: FetchRequest,
        _ choice: UInt8
    ) -> Result<FetchedBody, FetchError> {
        let packet = [0x47, choice, 0, 0x10] + [UInt8](repeating: 0xff, count: 184)
        let fragment = box("moof") + box("mdat")
        let body: [UInt8]
        switch (request.url.pathExtension, choice & 7) {
        case (_, 0): return .failure(.http(status: 404))
        case (_, 1): return .failure(.timedOut)
        case ("mp4", _): body = box("ftyp") + box("moov") + box(choice & 2 == 0 ? "free" : "skip")
        case ("key", _): body = [UInt8](repeating: choice, count: choice & 8 == 0 ? 16 : 17)
        case (_, 2): body = fragment
        default: body = packet + packet
        }
        return .success(FetchedBody(bytes: body, url: request.url))
    }

    private func box(_ type: String) -> [UInt8] { [0, 0, 0, 8] + Array(type.utf8) }
}
