import Fetch
import Posix

/// The tags and addresses of a playlist (RFC 8216, section 4.1), one after the other.
struct PlaylistLines {
    enum Line: Equatable {
        /// `#EXT…`, its name without the `#`, and what follows its colon.
        case tag(String, value: Substring)
        /// As written, and not checked.
        case address(String)
    }

    private var rest: ArraySlice<UInt8>
    /// Of the latest line, counted from 1.
    private(set) var number = 0
    private var isAtEnd = false
    private let stop: StopSignal?

    /// - Throws: `.tooLarge`, or `.notAPlaylist` when the first line is not `#EXTM3U`.
    init(_ bytes: [UInt8], limit: Int, until stop: StopSignal? = nil) throws(PlaylistError) {
        rest = bytes[...]
        self.stop = stop
        guard bytes.count <= limit else {
            throw PlaylistError(line: 0, reason: .tooLarge(limit: limit))
        }
        guard let first = nextLine(), first.elementsEqual("#EXTM3U".utf8) else {
            throw error(.notAPlaylist)
        }
    }

    /// The next tag or address; blank lines and comments are skipped.
    mutating func next() throws(PlaylistError) -> Line? {
        while let line = nextLine() {
            if number % 256 == 0, stop?.isRequested ?? false { throw error(.stopped) }
            if line.starts(with: "#EXT".utf8) { return tag(String(decoding: line, as: UTF8.self)) }
            guard let first = line.first, first != UInt8(ascii: "#") else { continue }
            guard let address = String(validating: line, as: UTF8.self) else {
                throw error(.addressRefused(.malformed))
            }
            return .address(address)
        }
        return nil
    }

    func error(_ reason: PlaylistError.Reason) -> PlaylistError {
        PlaylistError(line: number, reason: reason)
    }

    private func tag(_ text: String) -> Line {
        let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) ?? text.endIndex
        return .tag(String(text[..<colon].dropFirst()), value: text[colon...].dropFirst())
    }

    /// The next line without its end and the blanks before that; `nil` after the last.
    private mutating func nextLine() -> ArraySlice<UInt8>? {
        guard !isAtEnd else { return nil }
        number += 1
        let end = rest.firstIndex(of: UInt8(ascii: "\n"))
        let line = rest[..<(end ?? rest.endIndex)]
        isAtEnd = end == nil
        rest = end.map { rest[($0 + 1)...] } ?? []
        let last = line.lastIndex { $0 != UInt8(ascii: "\r") && $0 != UInt8(ascii: " ") }
        return line[..<(last.map { $0 + 1 } ?? line.startIndex)]
    }
}

/// An attribute list (RFC 8216, section 4.2): `NAME=value,NAME="quoted, value"`.
struct AttributeList: Equatable, Sendable {
    private let values: [String: String]

    /// Values without their quotes; `nil` when the text is not an attribute list or repeats a name.
    init?(_ text: Substring) {
        var values: [String: String] = [:]
        var rest = text.utf8
        while !rest.isEmpty {
            guard let equals = rest.firstIndex(of: UInt8(ascii: "=")),
                let name = Self.name(rest[..<equals]),
                let (value, after) = Self.value(rest[equals...].dropFirst()),
                values.updateValue(value, forKey: name) == nil
            else { return nil }
            rest = after
        }
        self.values = values
    }

    subscript(name: String) -> String? { values[name] }

    private static func name(_ bytes: Substring.UTF8View) -> String? {
        let name = bytes.drop { $0 == UInt8(ascii: " ") }
        let isValid = name.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
        return isValid && !name.isEmpty ? String(Substring(name)) : nil
    }

    /// The value at the start of `bytes`, and what follows its comma.
    private static func value(_ bytes: Substring.UTF8View) -> (String, Substring.UTF8View)? {
        let value: Substring.UTF8View
        let after: Substring.UTF8View
        if bytes.first == UInt8(ascii: "\"") {
            let quoted = bytes.dropFirst()
            guard let end = quoted.firstIndex(of: UInt8(ascii: "\"")) else { return nil }
            (value, after) = (quoted[..<end], quoted[end...].dropFirst())
        } else {
            let end = bytes.firstIndex(of: UInt8(ascii: ",")) ?? bytes.endIndex
            (value, after) = (bytes[..<end], bytes[end...])
        }
        guard after.first ?? UInt8(ascii: ",") == UInt8(ascii: ",") else { return nil }
        return (String(Substring(value)), after.dropFirst())
    }
}

/// Why a text is not a playlist that can be recorded.
struct PlaylistError: Error, Equatable, CustomStringConvertible {
    /// Counted from 1; 0 for the complete text.
    let line: Int
    let reason: Reason

    enum Reason: Equatable, Sendable {
        /// The first line is not `#EXTM3U`.
        case notAPlaylist
        case tooLarge(limit: Int)
        case tooManySegments(limit: Int)
        case tooManyVariants(limit: Int)
        /// A tag has an invalid value.
        case badValue(tag: String)
        /// A tag of the other kind of playlist: RFC 8216, section 4.1, requires that clients reject both in one.
        case mixedKinds(tag: String)
        /// `EXT-X-TARGETDURATION` is required.
        case targetDurationMissing
        /// A segment without `EXTINF`.
        case durationMissing
        /// `EXT-X-STREAM-INF` without the address that must follow it, or the reverse.
        case variantIncomplete
        /// A part of a playlist, which was not requested and cannot be used.
        case unrequestedDelta
        case addressRefused(URLPolicyError)
        /// A master playlist without a variant.
        case noVariants
        /// A master playlist at an address where another one announced a media playlist.
        case masterInMaster
        /// A feature of HLS that cannot be recorded.
        case unsupported(UnsupportedFeature)
        /// Parsing was stopped.
        case stopped
    }

    var description: String { line == 0 ? "\(text)" : "\(text) (line \(line))" }

    private var text: String {
        switch reason {
        case .notAPlaylist: "not an HLS playlist"
        case .tooLarge(let limit): "playlist larger than \(limit) bytes"
        case .tooManySegments(let limit): "playlist of more than \(limit) segments"
        case .tooManyVariants(let limit): "playlist of more than \(limit) variants"
        case .badValue(let tag): "invalid value of \(tag)"
        case .mixedKinds(let tag): "\(tag) does not belong to this kind of playlist"
        case .targetDurationMissing: "EXT-X-TARGETDURATION is missing"
        case .durationMissing: "segment without EXTINF"
        case .variantIncomplete: "EXT-X-STREAM-INF and an address must follow each other"
        case .unrequestedDelta: "EXT-X-SKIP, which was not requested"
        case .addressRefused(let error): error.description
        case .noVariants: "master playlist without variants"
        case .masterInMaster: "master playlist in place of a media playlist"
        case .stopped: "stopped"
        case .unsupported(let feature): "\(feature.rawValue) not supported"
        }
    }
}

/// Features of HLS that the recorder does not support; the raw value is for messages.
enum UnsupportedFeature: String, CaseIterable, Sendable {
    case encryption = "encryption other than AES-128 with a plain key (EXT-X-KEY) is"
    case separateAudio =
        "sound in a playlist of its own (EXT-X-MEDIA; a command source such as streamlink joins it) is"
    case iFramesOnly = "EXT-X-I-FRAMES-ONLY is"
    case variables = "EXT-X-DEFINE is"
}
