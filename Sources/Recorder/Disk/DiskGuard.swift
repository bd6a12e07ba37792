import Glibc
import Media
import Posix
import StreamVaultTelemetry
import Synchronization

/// Why a recording may not begin.
enum RecordingRefusal: Equatable, CustomStringConvertible {
    case noSpace(freeBytes: UInt64, neededBytes: UInt64)
    case unwritable(SystemError)

    /// The label of the metric.
    var reason: FinalizeError.Reason {
        switch self {
        case .noSpace: .noSpace
        case .unwritable(let error): FinalizeError.Reason(code: error.code)
        }
    }

    /// What a file could not be created for, as an error.
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

/// Watches the room on the disk: warns, then refuses new recordings, and gives those that run the reserve to end with.
final class DiskGuard: Sendable {
    private let directory: String
    private let settings: DiskSettings
    private let metrics: RecorderMetrics
    private let log: Log
    private let state = Mutex(State())
    /// Under a lock of its own: who asks for the level must not wait for a file to be made.
    private let reserve: Mutex<DiskReserve>

    /// Said once, not every second.
    private let reserveIsMissed = Atomic(false)

    private struct State {
        /// By the free space alone.
        var spaceLevel = DiskLevel.ample
        var space: DiskSpace?
        /// Why no file can be created in the directory.
        var failure: SystemError?

        var level: DiskLevel { failure == nil ? spaceLevel : .unwritable }
    }

    /// The reserve's file has the recorder's name, for several may share a directory.
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

    /// Why no recording may begin now; `nil` when one may.
    var refusal: RecordingRefusal? {
        state.withLock { state in
            if let failure = state.failure { return .unwritable(failure) }
            guard state.level == .full, let space = state.space else { return nil }
            let needed = settings.limits(size: space.sizeBytes).acceptFrom
            return .noSpace(freeBytes: space.freeBytes, neededBytes: needed)
        }
    }

    /// Looks at the disk every second from now on, on a thread of its own: a file system that hangs must hang nothing else.
    ///
    /// `onLook` runs on that thread, too, after each look.
    func start(onLook: @escaping @Sendable () -> Void = {}) throws(SystemError) {
        let never = try StopSignal()
        try DetachedThread.start(named: "disk") { [self] in
            reserve.withLock { $0.removeOthers(in: directory) }
            repeat {
                look()
                onLook()
            } while !never.wait(until: BootTime.now().advanced(by: .seconds(1)))
        }
    }

    /// `needsReserve` when a write has found no room: the reserve makes some for the end of the file.
    func look(needsReserve: Bool = false) {
        var failure: SystemError?
        do throws(SystemError) {
            try FileSystem.checkWritable(directory)
        } catch {
            // A directory that is gone is created again with the next recording.
            if error.code != ENOENT { failure = error }
        }
        if let space = try? DiskSpace(at: directory) {
            take(space, failure, needsReserve: needsReserve)
        } else {
            if needsReserve { _ = releaseReserve() }
            state.withLock { state in update(&state) { $0.failure = failure } }
        }
    }

    /// Takes what a look at the disk has found; `failure` is why no file can be created there.
    func take(_ space: DiskSpace, _ failure: SystemError? = nil, needsReserve: Bool = false) {
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
        if failure == nil, space.freeBytes >= limits.acceptFrom { holdReserve(limits.reserve) }
    }

    /// Changes the state, and logs and publishes the level that follows from it.
    ///
    /// A disk that fills at once is one line: the level and the reserve are reported together.
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

    private func holdReserve(_ bytes: UInt64) {
        do throws(SystemError) {
            try reserve.withLock { (reserve) throws(SystemError) in try reserve.hold(bytes) }
            metrics.diskReserve.set(Double(bytes))
            reserveIsMissed.store(false, ordering: .relaxed)
        } catch {
            guard !reserveIsMissed.exchange(true, ordering: .relaxed) else { return }
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
