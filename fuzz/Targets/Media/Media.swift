import FuzzSupport
import Posix

@testable import HLS
@testable import Media
@testable import Recorder

/// Segments as a server sends them, and files as a crash leaves them; encrypted ones, too.
///
/// The bytes say how a file is put together (`MediaScript`), and are a segment themselves.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzMedia(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = input(start, count)
    let script = MediaScript(bytes)
    do throws(SystemError) {
        try recover(script.media, of: script.container)
        try recover(bytes, of: script.container)
    } catch {
        fatalError("\(error)")
    }
    join(script.media)
    join(bytes)
    cut(bytes)
    decrypt(bytes)
    return 0
}

/// What is kept of a file is whole: nothing more is lost of it, nor of a file that grew behind it.
private func recover(_ bytes: [UInt8], of container: MediaContainer) throws(SystemError) {
    let whole = try completeLength(of: bytes, container)
    require((0...bytes.count).contains(whole), "within the file")
    let kept = Array(bytes.prefix(whole))
    require(try completeLength(of: kept, container) == whole, "what was kept is kept: \(whole)")
    let zeros = [UInt8](repeating: 0, count: 100)
    require(try completeLength(of: kept + zeros, container) >= whole, "zeros cost nothing")
    guard container == .mpegTS else { return }
    require(whole == plainWholeLength(of: bytes), "the last run of packets: \(whole)")
}

/// The same, told by the definition alone.
private func plainWholeLength(of bytes: [UInt8]) -> Int {
    func isRun(_ packets: Int, endingAt end: Int) -> Bool {
        (1...packets).allSatisfy { bytes[end - $0 * 188] == 0x47 }
    }
    let packets = min(bytes.count / 188, 4)
    guard packets > 0, isRun(packets, endingAt: packets * 188) else { return 0 }
    guard packets == 4 else { return packets * 188 }
    return (752...bytes.count).last { isRun(4, endingAt: $0) } ?? 752
}

/// A segment that is taken is whole, and stays so behind its markers.
private func join(_ bytes: [UInt8]) {
    if let unit = try? MediaUnit(header: nil, media: bytes) {
        let markers = TransportStream.discontinuityMarkers(before: unit.media)
        let streams = Set(stride(from: 0, to: bytes.count, by: 188).map { bytes[$0 + 2] })
        require(TransportStream.isAligned((markers + bytes).span), "markers are packets")
        require(markers.count / 188 <= streams.count * 32, "one for each stream")
    }
    guard let moof = firstIndex(of: "moof", in: bytes), moof >= 4 else { return }
    let (header, media) = (Array(bytes[..<(moof - 4)]), Array(bytes[(moof - 4)...]))
    guard let unit = try? MediaUnit(header: header, media: media) else { return }
    let whole = try? completeLength(of: header + unit.media, .fragmentedMP4)
    require((whole ?? 0) > header.count, "what is taken is recovered: \(whole ?? 0)")
}

/// A cut loses no byte, and does not depend on how reads fall.
private func cut(_ bytes: [UInt8]) {
    let parts = twoParts(of: bytes, readBy: max(1, bytes.count))
    for length in [100, 188, 1000] {
        require(twoParts(of: bytes, readBy: length) == parts, "reads of \(length)")
    }
    require(parts.joined().sorted() == bytes.sorted(), "every byte once")
}

private func twoParts(of bytes: [UInt8], readBy length: Int) -> [[UInt8]] {
    var (cutter, before, place): (TransportStreamCutter, [UInt8], Int) = (.init(), [], 0)
    while place < bytes.count {
        let end = min(bytes.count, place + length)
        let progress = cutter.take(bytes[place..<end])
        before += progress.before
        if let cut = progress.cut { return [before, cut.media + bytes[end...]] }
        place = end
    }
    return [before + cutter.rest]
}

private func firstIndex(of text: String, in bytes: [UInt8]) -> Int? {
    let text = Array(text.utf8)
    return bytes.prefix(4096).indices.first { bytes[$0...].starts(with: text) }
}
