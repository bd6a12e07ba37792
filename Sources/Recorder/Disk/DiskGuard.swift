import Glibc
import Posix
import StreamVaultTelemetry
import Synchronization

/// Why a recording may not begin.
enum RecordingRefusal: Equatable, CustomStringConvertible {
    case noSpace(freeBytes: UInt64, neededBytes: UInt64)

    var description: String {
        switch self {
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
        var level = DiskLevel.ample
        var space: DiskSpace?
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

    func look() {
        if let space = try? DiskSpace(at: directory) { take(space) }
    }

    /// Takes what a look at the disk has found.
    func take(_ space: DiskSpace) {
        metrics.show(space)
        let limits = settings.limits(size: space.sizeBytes)
        state.withLock { state in
            state.space = space
            enter(state.level.next(free: space.freeBytes, limits), &state)
        }
        if space.freeBytes < limits.reserve {
            releaseReserve()
        } else if space.freeBytes >= limits.acceptFrom {
            holdReserve(limits.reserve)
        }
    }

    /// A write found no room: the reserve makes some for the end of the file.
    func noteFull() {
        releaseReserve()
        look()
    }

    private func enter(_ level: DiskLevel, _ state: inout State) {
        defer { metrics.show(level) }
        guard level != state.level else { return }
        state.level = level
        let free: KeyValuePairs = ["free_bytes": "\(state.space?.freeBytes ?? 0)"]
        switch level {
        case .ample: log(.info, "Disk has room again", free)
        case .low: log(.warn, "Disk space is low", free)
        case .full: log(.error, "Disk is full: new recordings are refused", free)
        }
    }

    private func holdReserve(_ bytes: UInt64) {
        do throws(SystemError) {
            try reserve.withLock { (reserve) throws(SystemError) in try reserve.hold(bytes) }
            metrics.diskReserve.set(Double(bytes))
            reserveIsMissed.store(false, ordering: .relaxed)
        } catch {
            guard !reserveIsMissed.exchange(true, ordering: .relaxed) else { return }
            log(.warn, "No room kept in reserve", ["error": "\(error)"])
        }
    }

    private func releaseReserve() {
        guard reserve.withLock({ $0.release() }) else { return }
        metrics.diskReserve.set(0)
        log(.error, "Reserve released: running recordings end with it")
    }
}
