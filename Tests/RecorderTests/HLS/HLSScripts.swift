import Foundation

@testable import Recorder

/// A source with short pauses, so that the tests are over soon.
func hlsSource(
    _ url: URL,
    log: @escaping @Sendable (String) -> Void,
    _ change: (inout HLSSource.Settings) -> Void = { _ in }
) -> HLSSource {
    var settings = HLSSource.Settings()
    settings.reloadFloor = .milliseconds(10)
    settings.failures.firstPause = .milliseconds(10)
    settings.segments.download.firstPause = .milliseconds(10)
    settings.failures.longestPause = .milliseconds(20)
    settings.failures.patienceAtStart = .milliseconds(100)
    change(&settings)
    return HLSSource(url: url, settings: settings, log: log)
}

/// A playlist of segments named by the letters of `names`.
func playlist(
    _ first: Int,
    _ names: String,
    target: Int = 0,
    ended: Bool = false
) -> HLSScriptedServer.Reply {
    let segments = names.map { "#EXTINF:\(target),\n\($0).ts\n" }.joined()
    let head = "#EXTM3U\n#EXT-X-TARGETDURATION:\(target)\n#EXT-X-MEDIA-SEQUENCE:\(first)\n"
    return .text(head + segments + (ended ? "#EXT-X-ENDLIST\n" : ""))
}

/// Two packets for each letter, which is their second byte.
func packets(_ names: String) -> [UInt8] {
    names.utf8.flatMap { name in
        let packet = [0x47, name] + [UInt8](repeating: 0xff, count: 186)
        return packet + packet
    }
}

/// The packets of the letter before `.ts` in the path.
func media(_ path: String) -> HLSScriptedServer.Reply {
    .init(body: packets(String(path.dropLast(3).suffix(1))))
}

extension MediaSegment {
    init(
        sequence: UInt64 = 0,
        url: URL,
        duration: Duration,
        isGap: Bool = false,
        key: SegmentKey? = nil
    ) {
        self.init(
            sequence: sequence,
            address: MediaReference(url),
            duration: duration,
            isGap: isGap,
            key: key
        )
    }

    var url: URL { address.url }
}

extension SegmentKey {
    init(url: URL, initializationVector: [UInt8]?) {
        self.init(address: MediaReference(url), initializationVector: initializationVector)
    }
}

extension MediaReference {
    var url: URL { (try? resolved()) ?? URL(filePath: "/") }
}

extension Collected {
    /// The letters of the segments, each of two packets.
    var names: String {
        let packets = stride(from: 0, to: bytes.count, by: 188).map { Array(bytes[$0..<$0 + 188]) }
        let media = packets.filter { !isMarker($0) }
        let letters = stride(from: 0, to: media.count, by: 2).map { media[$0][1] }
        return String(decoding: letters, as: UTF8.self)
    }
}

/// Whether a packet only says that something is missing before it.
func isMarker(_ packet: [UInt8]) -> Bool {
    packet[3] & 0x30 == 0x20 && packet[5] & 0x80 != 0
}
