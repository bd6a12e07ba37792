import Foundation

/// Reads a media playlist line by line; any bytes give a playlist or a `PlaylistError`.
struct PlaylistParser {
    struct Limits: Equatable, Sendable {
        var bytes = 4 << 20
        var segments = 100_000
    }

    private let base: URL
    private let limits: Limits
    private var playlist = MediaPlaylist()
    private var targetDuration: Duration?
    private var next = NextSegment()
    private var line = 0

    /// Parses a playlist that was loaded from `base`, after all redirects.
    static func parse(
        _ bytes: [UInt8],
        from base: URL,
        limits: Limits = Limits()
    ) throws(PlaylistError) -> MediaPlaylist {
        var parser = PlaylistParser(base: base, limits: limits)
        guard bytes.count <= limits.bytes else {
            throw parser.error(.tooLarge(limit: limits.bytes))
        }
        for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            try parser.take(line)
        }
        return try parser.finish()
    }

    private init(base: URL, limits: Limits) {
        self.base = base
        self.limits = limits
    }

    private mutating func take(_ bytes: ArraySlice<UInt8>) throws(PlaylistError) {
        line += 1
        let end = bytes.lastIndex { $0 != UInt8(ascii: "\r") && $0 != UInt8(ascii: " ") }
        let trimmed = bytes[..<(end.map { $0 + 1 } ?? bytes.startIndex)]
        if line == 1 {
            guard trimmed.elementsEqual("#EXTM3U".utf8) else { throw error(.notAPlaylist) }
        } else if trimmed.starts(with: "#EXT".utf8) {
            try takeTag(String(decoding: trimmed, as: UTF8.self))
        } else if let first = trimmed.first, first != UInt8(ascii: "#") {
            try takeAddress(trimmed)
        }
    }

    private mutating func takeTag(_ text: String) throws(PlaylistError) {
        let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) ?? text.endIndex
        let value = text[colon...].dropFirst()
        let tag = String(text[..<colon].dropFirst())
        if let feature = UnsupportedFeature(tag: tag) { throw error(.unsupported(feature)) }
        switch tag {
        case "EXTINF": try takeDuration(value)
        case "EXT-X-TARGETDURATION": targetDuration = try parsed(value, of: tag, as: seconds)
        case "EXT-X-MEDIA-SEQUENCE":
            playlist.mediaSequence = try parsed(value, of: tag) { UInt64($0) }
        case "EXT-X-DISCONTINUITY-SEQUENCE":
            playlist.discontinuitySequence = try parsed(value, of: tag) { UInt64($0) }
        case "EXT-X-KEY": try takeKey(value)
        case "EXT-X-DISCONTINUITY": next.isDiscontinuous = true
        case "EXT-X-GAP": next.isGap = true
        case "EXT-X-PROGRAM-DATE-TIME": next.programDateTime = String(value)
        case "EXT-X-ENDLIST": playlist.hasEnded = true
        default: break  // RFC 8216, section 6.3.1: unknown tags are ignored.
        }
    }

    /// `EXTINF:duration,title`; the comma is left out by some.
    private mutating func takeDuration(_ value: Substring) throws(PlaylistError) {
        let comma = value.utf8.firstIndex(of: UInt8(ascii: ",")) ?? value.endIndex
        next.duration = try parsed(value[..<comma], of: "EXTINF", as: seconds)
        next.title = String(value[comma...].dropFirst())
    }

    private func takeKey(_ value: Substring) throws(PlaylistError) {
        let method = try parsed(value, of: "EXT-X-KEY") { AttributeList($0)?["METHOD"] }
        guard method == "NONE" else { throw error(.unsupported(.encryption)) }
    }

    private mutating func takeAddress(_ bytes: ArraySlice<UInt8>) throws(PlaylistError) {
        guard playlist.segments.count < limits.segments else {
            throw error(.tooManySegments(limit: limits.segments))
        }
        guard let duration = next.duration else { throw error(.durationMissing) }
        guard let reference = String(validating: bytes, as: UTF8.self) else {
            throw error(.addressRefused(.malformed))
        }
        let url: URL
        do throws(AddressError) {
            url = try MediaAddress.resolve(reference, at: base)
        } catch {
            throw self.error(.addressRefused(error))
        }
        playlist.segments.append(next.segment(at: url, lasting: duration))
        next = NextSegment()
    }

    /// Numbers the segments; only now is it known where to begin.
    private consuming func finish() throws(PlaylistError) -> MediaPlaylist {
        guard let targetDuration else {
            throw PlaylistError(line: 0, reason: .targetDurationMissing)
        }
        playlist.targetDuration = targetDuration
        let count = UInt64(playlist.segments.count)
        guard playlist.mediaSequence <= .max - count else {
            throw PlaylistError(line: 0, reason: .badValue(tag: "EXT-X-MEDIA-SEQUENCE"))
        }
        for index in playlist.segments.indices {
            playlist.segments[index].sequence = playlist.mediaSequence + UInt64(index)
        }
        return playlist
    }

    private func parsed<Value>(
        _ text: Substring,
        of tag: String,
        as parse: (Substring) -> Value?
    ) throws(PlaylistError) -> Value {
        guard let value = parse(text) else { throw error(.badValue(tag: tag)) }
        return value
    }

    private func error(_ reason: PlaylistError.Reason) -> PlaylistError {
        PlaylistError(line: line, reason: reason)
    }
}

/// What the tags have said so far of the segment whose address follows.
private struct NextSegment {
    var duration: Duration?
    var title = ""
    var isDiscontinuous = false
    var isGap = false
    var programDateTime: String?

    func segment(at url: URL, lasting duration: Duration) -> MediaSegment {
        MediaSegment(
            url: url,
            duration: duration,
            title: title,
            isDiscontinuous: isDiscontinuous,
            isGap: isGap,
            programDateTime: programDateTime
        )
    }
}

extension UnsupportedFeature {
    /// What a tag asks for that cannot be done, whatever its value.
    fileprivate init?(tag: String) {
        switch tag {
        case "EXT-X-STREAM-INF", "EXT-X-I-FRAME-STREAM-INF", "EXT-X-MEDIA": self = .masterPlaylist
        case "EXT-X-MAP": self = .initializationSection
        case "EXT-X-BYTERANGE": self = .byteRange
        case "EXT-X-I-FRAMES-ONLY": self = .iFramesOnly
        case "EXT-X-SKIP": self = .deltaUpdate
        case "EXT-X-DEFINE": self = .variables
        default: return nil
        }
    }
}

/// A decimal number of seconds, up to a million; nothing else that `Double` reads, such as `nan` or `1e9`.
private func seconds(_ text: Substring) -> Duration? {
    let isDecimal = text.utf8.allSatisfy { byte in
        byte == UInt8(ascii: ".") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
    guard isDecimal, let value = Double(text), value <= 1_000_000 else { return nil }
    return .milliseconds(Int((value * 1000).rounded()))
}
