import Media
import Posix

/// A recording as the catalogue keeps it: one take of a stream, in one or more parts.
struct CatalogueRecording: Equatable, Sendable {
    /// How a recording stands; the raw value is the catalogue's.
    enum Status: String, CaseIterable, Sendable {
        case recording
        /// The stream ended, and its files are whole.
        case completed
        /// A stop or a crash cut it short; its files are whole as far as they go.
        case interrupted
        /// Its source or its disk failed; `failureReason` says which way.
        case failed
        /// A shutdown ran out of time for it.
        case abandoned
    }

    let id: Int64
    let stream: String
    let title: String?
    private(set) var status: Status
    let startedAt: UTCTime
    private(set) var endedAt: UTCTime?
    /// The same on a clock that is never set, where that is known.
    private(set) var endedBoot: BootStamp?
    private(set) var failureReason: String?
    /// In their order; never empty, except for a recording whose rows another program has removed.
    var parts: [CataloguePart] = []

    /// Bytes of all parts.
    var bytes: Int { parts.reduce(0) { $0.addingClamped($1.bytes) } }

    /// Bytes that its files take now.
    var storedBytes: Int {
        parts.reduce(0) { sum, part in
            guard part.status != .deleted else { return sum }
            return sum.addingClamped(part.bytes).addingClamped(part.product?.bytes ?? 0)
        }
    }
}

/// One file of a recording.
struct CataloguePart: Equatable, Sendable {
    /// How a part stands; the raw value is the catalogue's.
    enum Status: String, CaseIterable, Sendable {
        case recording
        /// It has its final name, and is on the disk with as many bytes as its row has.
        case finished
        /// There is no file to play, or it could not be brought to its final name.
        case failed
        /// Retention removed the file.
        case deleted
    }

    let recordingID: Int64
    /// From 1.
    let number: Int
    /// Where the media is: while it is recorded, the part file.
    var path: String
    var container: String
    var status: Status
    var endedAt: UTCTime?
    var bytes: Int
    var failureReason: String?
    /// What it was converted to, as long as both are there.
    var product: StoredFile?
}

extension StoredFile {
    /// The part's file, by its name: the directory may be mounted elsewhere than before.
    init(_ part: CataloguePart, in directory: String) {
        self.init(path: part.path, bytes: part.bytes, in: directory)
    }

    fileprivate init(path: String, bytes: Int, in directory: String) {
        self.init(path: "\(directory)/\(lastPathComponent(path))", bytes: bytes)
    }
}

extension CataloguePart {
    /// All that is there of the part.
    func files(in directory: String) -> [StoredFile] {
        let products = [product].compactMap(\.self).map {
            StoredFile(path: $0.path, bytes: $0.bytes, in: directory)
        }
        return [StoredFile(self, in: directory)] + products
    }
}

/// What is known when a part of a recording begins; the first one begins the recording.
struct PartBeginning: Equatable, Sendable {
    var recordingID: Int64
    var stream: String
    var title: String?
    var recordingStartedAt: UTCTime
    var number: Int
    var path: String
    var container: MediaContainer
    var startedAt: UTCTime
}

/// What is known when a part has ended.
struct PartEnd: Equatable, Sendable {
    var recordingID: Int64
    var number: Int
    var status: CataloguePart.Status
    var bytes: Int
    /// Where the file is now.
    var path: String
    /// Why it failed: one of the closed set of reasons.
    var failureReason: String?
    var endedAt: UTCTime
}

/// What is known when a recording has ended.
struct RecordingEnd: Equatable, Sendable {
    var recordingID: Int64
    var status: CatalogueRecording.Status
    var failureReason: String?
    var endedAt: UTCTime
    /// The same on a clock that is never set, where that is known.
    var endedBoot: BootStamp?
}

/// What is known when retention has removed a part's files.
struct PartDeletion: Equatable, Sendable {
    var recordingID: Int64
    var number: Int
    var reason: RetentionReason
    var at: UTCTime
}

extension Int {
    /// The sum, or the number closest to it: rows of the catalogue may hold any number.
    func addingClamped(_ other: Int) -> Int {
        let (sum, overflow) = addingReportingOverflow(other)
        guard overflow else { return sum }
        return other < 0 ? .min : .max
    }
}

/// One transaction, for the metrics.
struct TransactionReport: Equatable, Sendable {
    let nanoseconds: UInt64
    /// `nil` when it was committed.
    let failure: CatalogueError.Reason?
}
