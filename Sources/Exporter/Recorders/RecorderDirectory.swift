import Glibc
import Posix
import StreamVaultTelemetry

/// A recorder that has a segment in the telemetry directory, and what is known of it.
struct KnownRecorder {
    let name: String
    var reader: SegmentReader
    /// What was last read; it stays when a later read fails.
    var snapshot: Snapshot?
    /// Why the last read failed; `nil` when it did not.
    var failure: SegmentError?
}

/// The recorders of a telemetry directory, read again at every look.
struct RecorderDirectory {
    private var directory: KeptDirectory
    private let log: Log?
    private let bootID = BootID.current()
    private var recorders: [KnownRecorder] = []
    private var listed: Listing?
    /// Why the entries could not be listed at the last look: there may be recorders that are not known.
    private(set) var listingFailure: SystemError?
    /// Failed reads since the start, by `SegmentError.reason`.
    private(set) var readErrors: [String: UInt64] = [:]

    /// The directory's state when its entries were listed.
    private struct Listing {
        let modified: WallTime
        /// Timestamps are coarse: a change in the same tick would not show.
        let isSettled: Bool
    }

    /// - Parameters:
    ///   - path: may be missing as long as nothing has published yet.
    ///   - log: told once when a segment becomes unreadable, and once when it is readable again.
    init(path: String, log: Log? = nil) {
        directory = KeptDirectory(path: path)
        self.log = log
    }

    /// Reads every segment.
    mutating func look() -> [KnownRecorder] {
        let isUnchanged = list()
        for index in recorders.indices { read(index, isSameFile: isUnchanged) }
        if recorders.contains(where: { $0.failure == .missing }) { listed = nil }
        recorders.removeAll { $0.failure == .missing }
        return recorders
    }

    private mutating func read(_ index: Int, isSameFile: Bool) {
        do throws(SegmentError) {
            let snapshot = try recorders[index].reader.snapshot(isSameFile: isSameFile)
            guard snapshot.contents.identity.name == recorders[index].name else {
                throw .damaged(.header)  // A copy under another name would show every series twice.
            }
            recorders[index].snapshot = snapshot
            note(nil, of: index)
        } catch {
            note(error, of: index)
            if error != .missing { readErrors[error.reason, default: 0] += 1 }
        }
    }

    private mutating func note(_ failure: SegmentError?, of index: Int) {
        let before = recorders[index].failure
        recorders[index].failure = failure
        guard failure != before, failure != .missing else { return }
        let name = recorders[index].name
        if let failure {
            log?(.warn, "Telemetry not readable", ["recorder": name, "error": "\(failure)"])
        } else {
            log?(.info, "Telemetry readable again", ["recorder": name])
        }
    }

    /// Brings the list of recorders up to date; `true` when every name is known to name what it named at the last look.
    private mutating func list() -> Bool {
        do throws(SystemError) {
            let modified = try directory.status(at: .now()).modifiedAt
            if let listed, listed.isSettled, listed.modified == modified { return true }
            let path = directory.path
            let names = try FileSystem.entries(of: path).compactMap(Self.recorderName)
            listed = Listing(
                modified: modified,
                isSettled: WallTime.now().nanoseconds > modified.nanoseconds + 100_000_000
            )
            recorders.removeAll { !names.contains($0.name) }
            for name in names where !recorders.contains(where: { $0.name == name }) {
                let reader = SegmentReader(path: "\(path)/\(name).telemetry", bootID: bootID)
                recorders.append(KnownRecorder(name: name, reader: reader))
            }
            recorders.sort { $0.name < $1.name }
            listingFailure = nil
        } catch {
            listed = nil
            // A directory that is missing has none; one that cannot be listed still has those that are known.
            if error.code == ENOENT { (recorders, listingFailure) = ([], nil) } else { note(error) }
        }
        return false
    }

    private mutating func note(_ failure: SystemError) {
        defer { listingFailure = failure }
        readErrors[SegmentError.unreadable(failure).reason, default: 0] += 1
        guard failure != listingFailure else { return }
        log?(.warn, "Telemetry directory not readable", ["error": "\(failure)"])
    }

    /// The recorder that a file of the directory belongs to; `nil` for any other file.
    static func recorderName(_ entry: String) -> String? {
        guard entry.hasSuffix(".telemetry") else { return nil }
        let name = String(entry.dropLast(".telemetry".count))
        return Identity.isName(name) ? name : nil
    }
}
