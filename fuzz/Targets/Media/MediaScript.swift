@testable import Media
@testable import Recorder

/// A file put together as bytes say, two for each piece: what it is, and how long.
///
/// Packets and boxes of any size fit few bytes so, and fill more than the window of a search, 64 KiB.
struct MediaScript {
    let container: MediaContainer
    private(set) var media: [UInt8] = []

    private static let most = 70_000
    private static let boxes = ["ftyp", "moov", "moof", "mdat", "styp", "free"]

    init(_ bytes: [UInt8]) {
        container = (bytes.first ?? 0) & 1 == 0 ? .mpegTS : .fragmentedMP4
        for index in stride(from: 1, to: bytes.count - 1, by: 2) where media.count < Self.most {
            let (kind, count) = (bytes[index], Int(bytes[index + 1]))
            switch container {
            case .mpegTS: appendPackets(kind, count)
            case .fragmentedMP4: appendBox(kind, count)
            }
        }
    }

    private mutating func appendPackets(_ kind: UInt8, _ count: Int) {
        switch kind % 4 {
        case 0, 1:
            let packet: [UInt8] =
                [0x47, kind & 0x1F, kind, kind] + [UInt8](repeating: kind, count: 184)
            for _ in 0..<count { media += packet }
        case 2: media += [UInt8](repeating: 0x47, count: count)
        default: media += [UInt8](repeating: 0, count: count * 188)
        }
    }

    /// A box with its size in 32 or 64 bits, or one that says 0, or too much.
    private mutating func appendBox(_ kind: UInt8, _ count: Int) {
        let type = Array(Self.boxes[Int(kind) % Self.boxes.count].utf8)
        let content = [UInt8](repeating: kind, count: count)
        let length = count + 8
        switch kind / 16 {
        case 0:
            media += [0, 0, 0, 1] + type
            media += [UInt8](repeating: 0, count: 6)
            media += [
                UInt8(truncatingIfNeeded: (length + 8) >> 8), UInt8(truncatingIfNeeded: length + 8),
            ]
            media += content
        case 1: media += [0, 0, 0, 0] + type + content
        case 2: media += [kind, 0, 0, 9] + type + content
        default:
            media += [0, 0, UInt8(length >> 8), UInt8(length & 0xFF)] + type + content
        }
    }
}
