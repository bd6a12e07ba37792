import Glibc
package import Posix

/// The name of a file without its directory, which may have another path than before.
package func lastPathComponent(_ path: String) -> String {
    path.split(separator: "/").last.map(String.init) ?? ""
}

/// The names of a recording's file: while it is written, and once it is finalized.
package struct RecordingName: Equatable, Sendable {
    package let directory: String
    /// The name without its extension: `cam-20261123T104500Z`.
    package let stem: String
    package let container: MediaContainer

    package var partPath: String { "\(directory)/\(stem)\(container.partSuffix)" }
    package var finalPath: String { "\(directory)/\(stem).\(container.rawValue)" }
    /// Where a file without media is kept.
    var invalidPath: String { "\(finalPath).invalid" }

    /// The name of a part of a recording: `cam-20261123T104500Z` for the first, `cam-20261123T104500Z_part002` for the next.
    ///
    /// Sorted by name, the parts are in order, and come before the next recording of the stream.
    package init(
        directory: String,
        stream: String,
        startedAt: UTCTime,
        part: Int,
        container: MediaContainer
    ) {
        let digits = String(part)
        let padding = String(repeating: "0", count: max(0, 3 - digits.count))
        let suffix = part == 1 ? "" : "_part\(padding)\(digits)"
        self.init(
            directory: directory,
            stem: "\(stream)-\(startedAt.compact)\(suffix)",
            container: container
        )
    }

    package init(directory: String, stem: String, container: MediaContainer) {
        (self.directory, self.stem, self.container) = (directory, stem, container)
    }

    /// The name of the part file `partName` in `directory`.
    ///
    /// `nil` for a name that this recorder does not give: a `holiday.ts.part` is another program's download.
    package init?(partName: String, in directory: String) {
        self.init(partName, in: directory) { $0.partSuffix }
    }

    /// The name of the finalized recording `finalName`; `nil` for a name that this recorder does not give.
    package init?(finalName: String, in directory: String) {
        self.init(finalName, in: directory) { ".\($0.rawValue)" }
    }

    private init?(_ name: String, in directory: String, suffix: (MediaContainer) -> String) {
        let container = MediaContainer.allCases.first { name.hasSuffix(suffix($0)) }
        guard let container else { return nil }
        let stem = String(name.dropLast(suffix(container).count))
        self.init(directory: directory, stem: stem, container: container)
        guard parts != nil else { return nil }
    }

    /// The stream, the start of the recording, and the number of the part, as the name gives them.
    ///
    /// `nil` unless the name is exactly the one that a recorder gives for these three. Parsed by hand, from the end: a regular
    /// expression takes a second and more for 10,000 names, while the start waits.
    package var parts: (stream: String, startedAt: UTCTime, part: Int)? {
        var rest = Substring(stem)
        let number = rest.removeDigits(1...4, behind: "-").flatMap { Int($0) } ?? 1
        let part = rest.removeDigits(3...6, behind: "_part").flatMap { Int($0) } ?? 1
        let start = rest.suffix("20261123T104500Z".count)
        let stream = rest.dropLast(start.count)
        guard stream.utf8.last == UInt8(ascii: "-"), Self.isStream(stream.utf8.dropLast()),
            number <= Self.maxAlternatives, let startedAt = UTCTime(compact: start)
        else { return nil }
        let name = RecordingName(
            directory: directory,
            stream: String(stream.dropLast()),
            startedAt: startedAt,
            part: part,
            container: container
        )
        guard name.alternative(number).stem.utf8.elementsEqual(stem.utf8) else { return nil }
        return (String(stream.dropLast()), startedAt, part)
    }

    /// Whether the configuration accepts such a name of a stream: a to z, 0 to 9 and inner dashes, at most 63.
    private static func isStream(_ name: Substring.UTF8View) -> Bool {
        let dash = UInt8(ascii: "-")
        guard (1...63).contains(name.count), name.first != dash, name.last != dash else {
            return false
        }
        return name.allSatisfy {
            $0 == dash || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
        }
    }

    /// The `number`-th name to try when those before it are taken: `…Z`, `…Z-2`, `…Z-3`.
    func alternative(_ number: Int) -> RecordingName {
        guard number > 1 else { return self }
        return RecordingName(
            directory: directory,
            stem: "\(stem)-\(number)",
            container: container
        )
    }

    /// How many names are tried.
    static let maxAlternatives = 1000
}

extension Substring {
    /// Removes digits, and `prefix` before them, from the end; removes nothing if they are not there.
    fileprivate mutating func removeDigits(
        _ counts: ClosedRange<Int>,
        behind prefix: String
    ) -> Substring? {
        let count = utf8.reversed().prefix { (0x30...0x39).contains($0) }.count
        let rest = Substring(utf8.dropLast(count))
        guard counts.contains(count), rest.hasSuffix(prefix) else { return nil }
        defer { self = rest.dropLast(prefix.count) }
        return Substring(utf8.suffix(count))
    }
}

/// The container of media in a file; the raw value is the file's extension.
package enum MediaContainer: String, CaseIterable, Sendable {
    /// Packets of 188 bytes.
    case mpegTS = "ts"
    /// Boxes: `ftyp` and `moov` once, then pairs of `moof` and `mdat`.
    case fragmentedMP4 = "mp4"

    /// The end of a recording's name while it is written: `.ts.part`.
    var partSuffix: String { ".\(rawValue).part" }

    /// Bytes from the start of `file` that are complete packets or boxes, and so play.
    ///
    /// 0 when the file does not begin as this container does, or has no complete unit of media.
    package func completeLength(of file: borrowing FileDescriptor) throws(SystemError) -> Int {
        let length = Int(try file.status().st_size)
        return switch self {
        case .mpegTS: try TransportStream.completeLength(of: file, length: length)
        case .fragmentedMP4: try FragmentedMP4.completeLength(of: file, length: length)
        }
    }

    /// Whether a file of this kind can begin with `media`; too few bytes may be anything.
    package func isPlausibleStart(_ media: Span<UInt8>) -> Bool {
        switch self {
        case .mpegTS: return media.isEmpty || media[0] == TransportStream.syncByte
        case .fragmentedMP4:
            guard media.count >= 8 else { return true }
            let type = (4..<8).map { media[$0] }
            return ["ftyp", "styp", "moof"].contains { Array($0.utf8) == type }
        }
    }
}
