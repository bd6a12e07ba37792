import Fetch
import Posix

/// What a playlist or segment does that RFC 8216 does not allow, and that is read all the same.
///
/// The raw value is the label `kind` of `streamvault_playlist_deviations_total`.
package enum PlaylistDeviation: String, CaseIterable, Sendable {
    /// A byte order mark in front.
    case byteOrderMark = "byte_order_mark"
    /// Blanks where none may be, and empty lines in front of `#EXTM3U`.
    case blank
    /// An attribute list of which a part cannot be read.
    case attributes
    /// `EXTINF` is missing, negative or no number: the duration of that segment is unknown.
    case duration
    /// `EXT-X-TARGETDURATION` is missing or no number.
    case targetDuration = "target_duration"
    /// `EXT-X-MEDIA-SEQUENCE` or `EXT-X-DISCONTINUITY-SEQUENCE` is no number of 64 bits.
    case sequence
    /// Segments left the playlist, and the number of its first one stayed what it was.
    case numbering
    /// The address of a segment cannot be requested: that segment is missed.
    case address
    /// `EXT-X-BYTERANGE` cannot be read: that segment is missed.
    case byteRange = "byte_range"
    /// `EXT-X-KEY` or `EXT-X-MAP` lacks what it must have.
    case key
    /// A variant whose attributes cannot be read, or an address without `EXT-X-STREAM-INF`.
    case variant
    /// Tags of a master and of a media playlist in one.
    case mixedKinds = "mixed_kinds"
    /// `EXT-X-SKIP`, which was not asked for.
    case delta
    /// A segment with bytes that belong to no packet.
    case packets
    /// An encrypted segment without padding.
    case padding
}

/// The lines of a playlist that are not comments (RFC 8216, section 4.1), one after the other.
struct PlaylistLines {
    enum Line: Equatable {
        /// `#EXT…`, its name without the `#`, and what follows its colon.
        case tag(String, value: Substring)
        /// As written, without blanks around it; not yet known to be an address.
        case address(String)
    }

    private var rest: ArraySlice<UInt8>
    /// Of the latest line, counted from 1.
    private(set) var number = 0
    private(set) var deviations: Set<PlaylistDeviation> = []
    private var isAtEnd = false
    private let stop: StopSignal?

    /// - Throws: `.tooLarge`, or `.notAPlaylist` when the first line is not `#EXTM3U`.
    init(_ bytes: [UInt8], limit: Int, until stop: StopSignal? = nil) throws(PlaylistError) {
        rest = bytes[...]
        self.stop = stop
        guard bytes.count <= limit else {
            throw PlaylistError(line: 0, reason: .tooLarge(limit: limit))
        }
        if rest.starts(with: [0xef, 0xbb, 0xbf]) {
            rest = rest.dropFirst(3)
            deviations.insert(.byteOrderMark)
        }
        var first = nextLine()
        while first?.isEmpty ?? false {
            deviations.insert(.blank)
            first = nextLine()
        }
        // Some add attributes of IPTV lists.
        guard let first, first.starts(with: "#EXTM3U".utf8) else { throw error(.notAPlaylist) }
    }

    /// The next tag or address; blank lines and comments are skipped.
    mutating func next() throws(PlaylistError) -> Line? {
        while let line = nextLine() {
            if number % 256 == 0, stop?.isRequested ?? false { throw error(.stopped) }
            if line.starts(with: "#EXT".utf8) { return tag(String(decoding: line, as: UTF8.self)) }
            guard let first = line.first, first != UInt8(ascii: "#") else { continue }
            return .address(String(decoding: line, as: UTF8.self))
        }
        return nil
    }

    func error(_ reason: PlaylistError.Reason) -> PlaylistError {
        PlaylistError(line: number, reason: reason)
    }

    private mutating func tag(_ text: String) -> Line {
        let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) ?? text.endIndex
        let (name, value) = (text[..<colon].dropFirst(), text[colon...].dropFirst())
        let trimmed = (name: name.trimmingBlanks(), value: value.trimmingBlanks())
        if trimmed.name.endIndex < name.endIndex || trimmed.value.startIndex > value.startIndex {
            deviations.insert(.blank)
        }
        return .tag(String(trimmed.name), value: trimmed.value)
    }

    /// The next line without its end and the blanks around it; `nil` after the last.
    private mutating func nextLine() -> ArraySlice<UInt8>? {
        guard !isAtEnd else { return nil }
        number += 1
        let end = rest.firstIndex(of: UInt8(ascii: "\n"))
        let line = rest[..<(end ?? rest.endIndex)]
        isAtEnd = end == nil
        rest = end.map { rest[($0 + 1)...] } ?? []
        let isBlank = { (byte: UInt8) in byte == 0x20 || byte == 0x09 || byte == 0x0d }
        let first = line.firstIndex { !isBlank($0) } ?? line.endIndex
        if first > line.startIndex, first < line.endIndex { deviations.insert(.blank) }
        let last = line.lastIndex { !isBlank($0) }
        return line[first..<(last.map { $0 + 1 } ?? first)]
    }
}

/// An attribute list (RFC 8216, section 4.2): `NAME=value,NAME="quoted, value"`.
struct AttributeList: Equatable, Sendable {
    private var values: [String: String] = [:]
    /// Whether all of the text could be read, as it should have been written.
    private(set) var isComplete = true

    /// Values without their quotes, the first of a name that is repeated; what cannot be read is passed over.
    init(_ text: Substring) {
        var rest = text
        while !rest.isEmpty {
            let written = rest.prefix(upTo: "=", or: ",")
            let name = String(written.trimmingBlanks())
            rest = rest[written.endIndex...]
            guard rest.utf8.first == UInt8(ascii: "="), !name.isEmpty else {
                isComplete = false
                rest = rest.dropFirst()
                continue
            }
            let value = readValue(&rest)
            isComplete = isComplete && name.utf8.count == written.utf8.count && values[name] == nil
            if values[name] == nil { values[name] = value }
        }
    }

    subscript(name: String) -> String? { values[name] }

    /// Takes `=value,` from the start of `rest`.
    private mutating func readValue(_ rest: inout Substring) -> String {
        let written = rest.dropFirst()
        let start = written.droppingBlanks()
        let value: Substring
        if start.utf8.first == UInt8(ascii: "\"") {
            let quoted = start.dropFirst()
            value = quoted.prefix(upTo: "\"")
            rest = quoted[value.endIndex...].dropFirst()
            let gap = rest.prefix(upTo: ",")
            isComplete = isComplete && value.endIndex < quoted.endIndex && gap.isEmpty
            rest = rest[gap.endIndex...].dropFirst()
        } else {
            let unquoted = start.prefix(upTo: ",")
            value = unquoted.trimmingBlanks()
            isComplete = isComplete && value.endIndex == unquoted.endIndex
            rest = start[unquoted.endIndex...].dropFirst()
        }
        isComplete = isComplete && start.startIndex == written.startIndex
        return String(value)
    }
}

extension Substring {
    /// Without spaces and tabs at both ends.
    func trimmingBlanks() -> Substring {
        let start = droppingBlanks()
        let last = start.utf8.lastIndex { !isBlank($0) }
        return last.map { start[...$0] } ?? start
    }

    fileprivate func droppingBlanks() -> Substring {
        self[(utf8.firstIndex { !isBlank($0) } ?? endIndex)...]
    }

    fileprivate func prefix(upTo one: Unicode.Scalar, or other: Unicode.Scalar? = nil) -> Substring
    {
        let (one, other) = (UInt8(ascii: one), other.map { UInt8(ascii: $0) })
        return self[..<(utf8.firstIndex { $0 == one || $0 == other } ?? endIndex)]
    }
}

private func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

/// The variables of a playlist (`EXT-X-DEFINE`).
struct PlaylistVariables: Equatable, Sendable {
    /// Bytes that one line may become.
    private static let maxBytes = 64 << 10
    private(set) var values: [String: String] = [:]

    /// Takes one `EXT-X-DEFINE`: a value, one of the address of the playlist, or one of the master playlist.
    mutating func define(_ attributes: AttributeList, query: String?, imported: PlaylistVariables) {
        if let name = attributes["NAME"], let value = attributes["VALUE"] {
            values[name] = value
        } else if let name = attributes["QUERYPARAM"] {
            let items = (query ?? "").split(separator: "&")
            let item = items.first { $0.prefix { $0 != "=" } == name }
            values[name] = item.map { String($0.dropFirst(name.count + 1)) }
        } else if let name = attributes["IMPORT"] {
            values[name] = imported.values[name]
        }
    }

    /// `text` with `{$NAME}` replaced; what is not defined stays as it is written.
    func replaced(in text: String) -> String {
        guard !values.isEmpty, text.contains("{$") else { return text }
        var result = ""
        var rest = text[...]
        while let start = rest.firstRange(of: "{$"), result.utf8.count < Self.maxBytes {
            result += rest[..<start.lowerBound]
            let name = rest[start.upperBound...].prefix { $0 != "}" }
            guard name.endIndex < rest.endIndex, let value = values[String(name)] else {
                result += rest[start]
                rest = rest[start.upperBound...]
                continue
            }
            result += value
            rest = rest[name.endIndex...].dropFirst()
        }
        return result + rest
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
}
