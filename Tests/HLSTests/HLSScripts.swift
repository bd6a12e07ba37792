import Foundation
import Posix
import Synchronization
import TestSupport

@testable import HLS
@testable import Media

/// A stream that is read in attempts, each of which continues the one before it.
final class HLSStream: Sendable {
    private let url: URL
    private let settings: HLSReader.Settings
    private let log: @Sendable (String) -> Void
    private let position = Mutex<HLSReader.Position?>(nil)

    init(
        _ url: URL,
        _ settings: HLSReader.Settings = HLSReader.Settings(),
        log: @escaping @Sendable (String) -> Void
    ) {
        (self.url, self.settings, self.log) = (url, settings, log)
    }

    /// Reads the stream to its end on a thread of its own, as a recorder does.
    ///
    /// `onAppend` is called after each segment, with the number of bytes so far, and may throw as a full disk does; `onItem`
    /// after each item.
    func read(
        until stop: StopSignal,
        onAppend: @escaping @Sendable (Int) throws(SystemError) -> Void = { _ in },
        onItem: @escaping @Sendable (HLSReader.Item) -> Void = { _ in }
    ) async -> HLSOutcome {
        await onThread { [self] in
            var collected = HLSCollected()
            let start = BootTime.now()
            let ending = read(into: &collected, until: stop, onAppend, onItem)
            let took = BootTime.now().since(start)
            return HLSOutcome(ending: ending, collected: collected, took: took)
        }
    }

    private func read(
        into collected: inout HLSCollected,
        until stop: StopSignal,
        _ onAppend: (Int) throws(SystemError) -> Void,
        _ onItem: (HLSReader.Item) -> Void
    ) -> HLSOutcome.Ending {
        var reader: HLSReader
        do throws(HLSError) {
            reader = try HLSReader(url, settings, from: position.withLock { $0 })
        } catch {
            return .failed(error.description)
        }
        defer {
            let reached = reader.position(isInterrupted: stop.isRequested)
            position.withLock { $0 = reached }
        }
        while true {
            let item = reader.next(until: stop)
            switch item {
            case .segment(let unit, let number, let isDiscontinuous):
                if let due = collected.sequence.dueTime(of: unit, at: .now()) {
                    reader.wait(until: due, or: stop)
                    if stop.isRequested { return .stopped }
                }
                do throws(SystemError) {
                    collected.append(unit, number, isDiscontinuous: isDiscontinuous)
                    try onAppend(collected.bytes.count)
                } catch {
                    return .notStored(error)
                }
                collected.segments += 1
            case .segmentFailed(_, let message), .loadFailed(_, let message):
                log(message)
                collected.events.append(item)
            case .ended: return .ended
            case .stopped: return .stopped
            case .failed(let error): return .failed(error.description)
            case .missed, .restarted, .variantChosen, .addressRefused, .memoryFull, .deviation,
                .bytesDropped:
                collected.events.append(item)
            }
            onItem(item)
        }
    }
}

struct HLSOutcome: Sendable {
    enum Ending: Equatable {
        case ended, stopped
        case failed(String)
        /// What the test's storage threw.
        case notStored(SystemError)
    }

    let ending: Ending
    let collected: HLSCollected
    let took: Duration
}

/// Recordings in memory.
struct HLSCollected: Sendable {
    var sequence = PartSequence()
    private(set) var bytes: [UInt8] = []
    /// Where each part begins.
    private(set) var parts: [(container: MediaContainer, at: Int)] = []
    /// How often a break began no part.
    private(set) var joined = 0
    /// Segments that were stored.
    var segments = 0
    /// All items but segments, and the last.
    var events: [HLSReader.Item] = []

    mutating func append(
        _ unit: MediaUnit,
        _ number: UInt64,
        isDiscontinuous: Bool = false,
        at now: BootTime = .now()
    ) {
        let placement = sequence.place(
            unit,
            number: number,
            isDiscontinuous: isDiscontinuous,
            at: now
        )
        if placement.beginsPart { parts.append((unit.container, at: bytes.count)) }
        if placement.isJoined { joined += 1 }
        bytes += placement.prefix + unit.media
    }

    /// Begins the next recording, as a split does.
    mutating func split() { sequence = PartSequence() }

    /// The numbers of segments that were missed, as they were reported.
    var missed: [Int] {
        events.compactMap { event in
            switch event {
            case .missed(let count): count
            case .segmentFailed: 1
            default: nil
            }
        }
    }

    var loadFailures: [PlaylistFailure] {
        events.compactMap { if case .loadFailed(let failure, _) = $0 { failure } else { nil } }
    }

    /// The bytes of each part.
    var partBytes: [[UInt8]] {
        let ends = parts.dropFirst().map(\.at) + [bytes.count]
        return zip(parts, ends).map { Array(bytes[$0.at..<$1]) }
    }
}

/// A stream with short pauses, so that the tests are over soon.
func hlsStream(
    _ url: URL,
    log: @escaping @Sendable (String) -> Void,
    _ change: (inout HLSReader.Settings) -> Void = { _ in }
) -> HLSStream {
    var settings = HLSReader.Settings()
    settings.minReloadInterval = .milliseconds(10)
    settings.failures.firstPause = .milliseconds(10)
    settings.segments.download.firstPause = .milliseconds(10)
    settings.failures.maxPause = .milliseconds(20)
    settings.failures.startTimeout = .milliseconds(100)
    change(&settings)
    return HLSStream(url, settings, log: log)
}

/// A playlist of segments named by the letters of `names`.
func playlist(
    _ first: Int,
    _ names: String,
    target: Int = 0,
    ended: Bool = false
) -> ScriptedServer.Reply {
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
func media(_ path: String) -> ScriptedServer.Reply {
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
        let vector = initializationVector.map { InitializationVector.given($0) }
        self.init(source: .address(MediaReference(url)), initializationVector: vector ?? .number(0))
    }

    var url: URL {
        if case .address(let reference) = source { reference.url } else { URL(filePath: "/inline") }
    }
}

extension MediaReference {
    var url: URL { (try? resolved()) ?? URL(filePath: "/") }
}

extension HLSCollected {
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

func mp4Box(_ type: String, _ payload: [UInt8] = []) -> [UInt8] {
    let size = UInt32(payload.count + 8).bigEndian
    return withUnsafeBytes(of: size) { Array($0) } + Array(type.utf8) + payload
}
