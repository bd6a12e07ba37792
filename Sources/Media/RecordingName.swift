import Glibc
package import Posix

/// The name of a file without its directory, which may be mounted elsewhere than before.
package func lastPathComponent(_ path: String) -> String {
    path.split(separator: "/").last.map(String.init) ?? ""
}

/// Where a recording's file stands, while it is written and once it is whole.
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
    /// By name, the parts come in their order, behind the first and before the next recording of the stream.
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

    /// What the name says: the stream, the start of its recording, and the number of the part.
    ///
    /// `nil` unless the name is exactly the one that a recorder gives for these three. Parsed by hand, from the end: a regular
    /// expression takes a second and more for 10,000 names, while the start waits.
    package var parts: (stream: String, startedAt: UTCTime, part: Int)? {
        var rest = Substring(stem)
        let number = rest.takeDigits(1...4, behind: "-").flatMap { Int($0) } ?? 1
        let part = rest.takeDigits(3...6, behind: "_part").flatMap { Int($0) } ?? 1
        let start = rest.suffix("20261123T104500Z".count)
        let stream = rest.dropLast(start.count)
        guard stream.utf8.last == UInt8(ascii: "-"), Self.isStream(stream.utf8.dropLast()),
            number <= Self.mostAlternatives, let startedAt = UTCTime(compact: start)
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

    /// Names that are tried before giving up.
    static let mostAlternatives = 1000
}

extension Substring {
    /// Takes digits, and `prefix` before them, off the end; takes nothing where these do not stand there.
    fileprivate mutating func takeDigits(
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
