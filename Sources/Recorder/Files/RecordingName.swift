import Glibc
import Posix

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
