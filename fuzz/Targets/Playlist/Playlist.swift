import Foundation
import Posix

@testable import Fetch
@testable import HLS
@testable import Recorder

/// Any bytes give a playlist or an error; what can be chosen or followed in it is bounded by what stands in it.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzPlaylist(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = UnsafeBufferPointer(start: start, count: count)
    guard let base = URL(string: "https://h.test/live/index.m3u8?token=x") else { return 0 }
    var tracker = PlaylistTracker(from: bytes.first == 0x20 ? .live : .start)
    // One load after the other, with a zero between them.
    for (number, load) in bytes.split(separator: 0, maxSplits: 3).enumerated() {
        guard let playlist = try? Playlist.parse(Array(load), from: base) else { continue }
        switch playlist {
        case .master(let master): choose(from: master)
        case .media(let media): follow(media, load: UInt64(number), &tracker)
        }
    }
    return 0
}

private func choose(from master: MasterPlaylist) {
    for quality in [Quality.best, .worst, .height(720), .bandwidth(1_000_000)] {
        guard let variant = try? master.variant(for: quality) else { continue }
        precondition(master.variants.contains(variant) && !master.hasSeparateAudio(variant))
    }
}

private func follow(_ media: MediaPlaylist, load: UInt64, _ tracker: inout PlaylistTracker) {
    for segment in media.segments {
        let url = try? segment.address.resolved()
        precondition(url.map { $0.scheme == "https" } ?? true && segment.duration >= .zero)
        precondition(segment.range.map { $0.count > 0 && $0.end > $0.offset } ?? true)
        precondition(segment.key.map { $0.initializationVector(for: .max).count == 16 } ?? true)
    }
    let time = BootTime(nanoseconds: (1 + load) * 60_000_000_000)
    let update = tracker.take(media, loadedAt: time)
    precondition(update.segments.count <= media.segments.count && update.missed >= 0)
    precondition(tracker.nextLoad > time)
    tracker = load == 1 ? tracker.resumed(from: update.segments.first?.sequence) : tracker
}
