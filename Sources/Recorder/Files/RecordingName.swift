import Glibc
import Posix

/// The name of a file without its directory, which may be mounted elsewhere than before.
func lastPathComponent(_ path: String) -> String {
    path.split(separator: "/").last.map(String.init) ?? ""
}

/// Where a recording's file stands, while it is written and once it is whole.
struct RecordingName: Equatable, Sendable {
    let directory: String
    /// The name without its extension: `cam-20261123T104500Z`.
    let stem: String
    let container: MediaContainer

    var partPath: String { "\(directory)/\(stem)\(container.partSuffix)" }
    var finalPath: String { "\(directory)/\(stem).\(container.rawValue)" }
    /// Where bytes that are no media are set aside.
    var invalidPath: String { "\(finalPath).invalid" }

    /// The name of a part of a recording: `cam-20261123T104500Z` for the first, `cam-20261123T104500Z_part002` for the next.
    ///
    /// By name, the parts come in their order, behind the first and before the next recording of the stream.
    init(
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

    init(directory: String, stem: String, container: MediaContainer) {
        (self.directory, self.stem, self.container) = (directory, stem, container)
    }

    /// The name of the file `partName` in `directory`; `nil` when it is not one of a recording.
    init?(partName: String, in directory: String) {
        let match = MediaContainer.allCases.first { partName.hasSuffix($0.partSuffix) }
        guard let container = match else { return nil }
        let stem = String(partName.dropLast(container.partSuffix.count))
        guard !stem.isEmpty else { return nil }
        self.init(directory: directory, stem: stem, container: container)
    }

    /// The name of the finished recording `finalName`; `nil` when its form is not one that a recorder gives.
    init?(finalName: String, in directory: String) {
        let container = MediaContainer.allCases.first { finalName.hasSuffix(".\($0.rawValue)") }
        guard let container else { return nil }
        let stem = String(finalName.dropLast(container.rawValue.count + 1))
        self.init(directory: directory, stem: stem, container: container)
        guard parts != nil else { return nil }
    }

    /// What the name says: the stream, the start of its recording, and the number of the part.
    ///
    /// By hand, from its end: a regular expression takes a second and more for 10,000 names, while the start waits.
    var parts: (stream: String, startedAt: UTCTime, part: Int)? {
        var rest = Substring(stem)
        _ = rest.takeDigits(1...4, behind: "-")
        let part = rest.takeDigits(3...6, behind: "_part").flatMap { Int($0) } ?? 1
        let start = rest.suffix("20261123T104500Z".count)
        let stream = rest.dropLast(start.count)
        guard stream.utf8.count > 1, stream.utf8.last == UInt8(ascii: "-"),
            let startedAt = UTCTime(compact: start)
        else { return nil }
        return (String(stream.dropLast()), startedAt, part)
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
