import Glibc
import Media
import Posix
import StreamVaultTelemetry
import Synchronization

/// How much disk space there is for recordings; the raw value is the label of the metric.
enum DiskLevel: String, CaseIterable, Sendable {
    case ample
    /// A warning: someone should free space.
    case low
    /// New recordings are refused.
    case full
    /// No file can be created, however much space is free: a mount is read-only, or a permission is missing. New recordings are refused.
    case unwritable

    /// Whether a new recording may start.
    var allowsRecordings: Bool { self == .ample || self == .low }

    /// The level with `free` bytes left; a level ends at a higher value than it begins, so that it does not alternate.
    func next(free: UInt64, _ limits: DiskLimits) -> DiskLevel {
        if free < limits.refuseBelow { return .full }
        if self == .full, free < limits.acceptFrom { return .full }
        if free < limits.warnBelow { return .low }
        if self == .low || self == .full, free < limits.clearWarningFrom { return .low }
        return .ample
    }
}

/// The limits of the disk levels, in bytes.
struct DiskLimits: Equatable, Sendable {
    let warnBelow: UInt64
    let refuseBelow: UInt64
    /// The size of the file that reserves space for finalizing recordings on a full disk.
    let reserve: UInt64

    /// From here on recordings begin again; the space of the reserve does not count.
    var acceptFrom: UInt64 { refuseBelow + max(refuseBelow / 4, reserve) }

    var clearWarningFrom: UInt64 { max(warnBelow + warnBelow / 10, acceptFrom) }
}

/// The limits that are configured; those that are not depend on the size of the disk.
struct DiskSettings: Equatable, Sendable {
    var warnBelow: UInt64?
    var refuseBelow: UInt64?
    var reserve: UInt64?

    private static let maxWarnBelow: UInt64 = 5 << 30
    private static let maxRefuseBelow: UInt64 = 1 << 30
    private static let maxReserve: UInt64 = 32 << 20

    /// On a small disk 10 %, 2 % and 0.2 % of its size.
    func limits(size: UInt64) -> DiskLimits {
        let refuseBelow = refuseBelow ?? min(Self.maxRefuseBelow, size / 50)
        return DiskLimits(
            warnBelow: max(warnBelow ?? min(Self.maxWarnBelow, size / 10), refuseBelow),
            refuseBelow: refuseBelow,
            reserve: reserve ?? min(Self.maxReserve, size / 500)
        )
    }
}

/// Why no recording can begin.
enum DiskRefusal: Equatable, CustomStringConvertible {
    case noSpace(freeBytes: UInt64, neededBytes: UInt64)
    case unwritable(SystemError)

    /// The label of the metric.
    var reason: FinalizeError.Reason { FinalizeError.Reason(code: error.code) }

    /// As if the file could not be created.
    var error: SystemError {
        switch self {
        case .noSpace: SystemError(call: description, code: ENOSPC)
        case .unwritable(let error): error
        }
    }

    var description: String {
        switch self {
        case .unwritable(let error): "the directory cannot be written: \(error)"
        case .noSpace(let free, let needed):
            "no space left: \(free) bytes are free, recordings begin from \(needed)"
        }
    }
}

/// Watches the disk of the recordings: warns, refuses new recordings, and releases the reserved space for those that are running.
final class DiskGuard: Sendable {
    private let directory: String
    private let settings: DiskSettings
    private let metrics: RecorderMetrics
    private let log: Log
    private let state = Mutex(State())
    /// Under its own lock: a reader of the level must not wait until a file is allocated.
    private let reserve: Mutex<DiskReserve>
    /// The same error is logged once, not every second.
    private let reserveIsMissing = Atomic(false)

    private struct State {
        /// By the free space alone.
        var spaceLevel = DiskLevel.ample
        var space: DiskSpace?
        /// Why no file can be created in the directory.
        var failure: SystemError?

        var level: DiskLevel { failure == nil ? spaceLevel : .unwritable }
    }

    /// The reserve's file has the recorder's name, because several recorders may share a directory.
    init(
        _ directory: String,
        recorder: String,
        _ settings: DiskSettings,
        _ metrics: RecorderMetrics,
        _ log: Log
    ) {
        (self.directory, self.settings) = (directory, settings)
        (self.metrics, self.log) = (metrics, log)
        reserve = Mutex(DiskReserve(directory, of: recorder))
    }

    var level: DiskLevel { state.withLock { $0.level } }

    /// Why no recording can begin now; `nil` when one can.
    var refusal: DiskRefusal? {
        state.withLock { state in
            if let failure = state.failure { return .unwritable(failure) }
            guard state.level == .full, let space = state.space else { return nil }
            let needed = settings.limits(size: space.sizeBytes).acceptFrom
            return .noSpace(freeBytes: space.freeBytes, neededBytes: needed)
        }
    }

    /// Checks the disk every second from now on, on its own thread, which may hang with the file system.
    ///
    /// `onCheck` runs on that thread after each check.
    func start(onCheck: @escaping @Sendable () -> Void = {}) throws(SystemError) {
        let never = try StopSignal()
        try DetachedThread.start(named: "disk") { [self] in
            reserve.withLock { $0.removeOthers(in: directory) }
            repeat {
                check()
                onCheck()
            } while !never.wait(until: BootTime.now().advanced(by: .seconds(1)))
        }
    }

    /// Reads the state of the disk.
    ///
    /// `needsReserve` after a write that found no space: the reserve is released, so that the file can be finalized.
    func check(needsReserve: Bool = false) {
        var failure: SystemError?
        do throws(SystemError) {
            try FileSystem.checkWritable(directory)
        } catch {
            // The next recording creates a directory that is missing.
            if error.code != ENOENT { failure = error }
        }
        if let space = try? DiskSpace(at: directory) {
            apply(space, failure, needsReserve: needsReserve)
        } else {
            if needsReserve { _ = releaseReserve() }
            state.withLock { state in update(&state) { $0.failure = failure } }
        }
    }

    /// Applies what a check has found; `failure` is why no file can be created.
    func apply(_ space: DiskSpace, _ failure: SystemError? = nil, needsReserve: Bool = false) {
        metrics.show(space)
        let limits = settings.limits(size: space.sizeBytes)
        let isReleased =
            failure == nil && (needsReserve || space.freeBytes < limits.reserve)
            && releaseReserve()
        state.withLock { state in
            update(&state, isReserveReleased: isReleased) { state in
                (state.space, state.failure) = (space, failure)
                state.spaceLevel = state.spaceLevel.next(free: space.freeBytes, limits)
            }
        }
        if failure == nil, space.freeBytes >= limits.acceptFrom { allocateReserve(limits.reserve) }
    }

    /// Changes the state, and logs and publishes the level that follows from it.
    ///
    /// When a disk becomes full and the reserve is released at the same time, that is one line.
    private func update(
        _ state: inout State,
        isReserveReleased: Bool = false,
        _ change: (inout State) -> Void
    ) {
        let earlier = state.level
        change(&state)
        metrics.show(state.level)
        let free: KeyValuePairs = ["free_bytes": "\(state.space?.freeBytes ?? 0)"]
        if isReserveReleased, state.level == earlier || state.level != .full {
            log(.error, "Disk reserve released, so that running recordings can be finalized", free)
        }
        guard state.level != earlier else { return }
        switch state.level {
        case .ample where earlier == .unwritable:
            log(.info, "Recordings directory can be written again", free)
        case .ample: log(.info, "Disk space is sufficient again", free)
        case .low: log(.warn, "Disk space is low", free)
        case .full:
            log(
                .error,
                "Disk is full: new recordings are refused",
                [
                    "free_bytes": "\(state.space?.freeBytes ?? 0)",
                    "reserve": isReserveReleased ? "released" : "unchanged",
                ]
            )
        case .unwritable:
            log(
                .error,
                "Recordings directory cannot be written: new recordings are refused",
                ["error": state.failure.map { "\($0)" } ?? ""]
            )
        }
    }

    private func allocateReserve(_ bytes: UInt64) {
        do throws(SystemError) {
            try reserve.withLock { (reserve) throws(SystemError) in try reserve.allocate(bytes) }
            metrics.diskReserve.set(Double(bytes))
            reserveIsMissing.store(false, ordering: .relaxed)
        } catch {
            guard !reserveIsMissing.exchange(true, ordering: .relaxed) else { return }
            log(.warn, "Disk reserve not allocated", ["bytes": "\(bytes)", "error": "\(error)"])
        }
    }

    /// Whether there was one.
    private func releaseReserve() -> Bool {
        guard reserve.withLock({ $0.release() }) else { return false }
        metrics.diskReserve.set(0)
        return true
    }
}

/// A file that reserves space on the disk until it is released.
///
/// Locked while it is allocated: other recorders in the directory can tell it from a leftover.
struct DiskReserve: ~Copyable, Sendable {
    let path: String
    private var allocatedBytes: UInt64 = 0
    private var file: FileDescriptor?

    private static let prefix = ".reserve-"

    init(_ directory: String, of recorder: String) {
        path = "\(directory)/\(Self.prefix)\(recorder)"
    }

    /// Allocates the space, unless that has been done and the file still exists.
    ///
    /// - Throws: when there is not enough; then nothing is allocated.
    mutating func allocate(_ bytes: UInt64) throws(SystemError) {
        guard allocatedBytes != bytes || !isInPlace else { return }
        do throws(SystemError) {
            let file = try FileDescriptor(opening: path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK)
            let status = try file.status()
            guard status.st_mode & S_IFMT == S_IFREG else {
                throw SystemError(call: "\(path) is not a regular file: open", code: EINVAL)
            }
            // It would be truncated, under its other name too.
            guard status.st_nlink == 1 else {
                throw SystemError(call: "\(path) has another hard link: open", code: EMLINK)
            }
            _ = try file.tryExclusiveLock()
            try file.truncate(to: Int(clamping: bytes))
            try file.allocate(Int(clamping: bytes))
            self.file = consume file
            allocatedBytes = bytes
        } catch {
            _ = release()
            throw error
        }
    }

    private var isInPlace: Bool {
        guard let held = try? file?.status(), let named = try? FileSystem.linkStatus(of: path)
        else {
            return false
        }
        return held.st_ino == named.st_ino && held.st_dev == named.st_dev
    }

    /// Frees the space, also that of a run that was killed; whether this one had allocated any.
    mutating func release() -> Bool {
        defer {
            allocatedBytes = 0
            file = nil
        }
        try? FileSystem.unlink(path)
        return allocatedBytes > 0
    }

    /// Removes the reserves of recorders that are not running, such as this one under a former name.
    func removeOthers(in directory: String) {
        for name in (try? FileSystem.entries(of: directory)) ?? [] {
            guard name.hasPrefix(Self.prefix),
                ConfigurationRules.isName(String(name.dropFirst(Self.prefix.count)))
            else { continue }
            let other = "\(directory)/\(name)"
            let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
            guard other != path, let file = try? FileDescriptor(opening: other, flags),
                let status = try? file.status(), status.st_mode & S_IFMT == S_IFREG,
                (try? file.tryExclusiveLock()) == true
            else { continue }
            try? FileSystem.unlink(other)
        }
    }
}
