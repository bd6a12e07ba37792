import Fetch
import Posix

/// A resource that is being fetched, again where that may help.
struct Download {
    struct Settings: Equatable, Sendable {
        /// How often it is asked for before it is given up.
        var tries = 3
        /// Doubles from try to try.
        var firstPause = Duration.milliseconds(500)
    }

    enum State {
        case due(at: BootTime)
        case underWay(id: Int)
        /// Given up for want of memory, until it is the next in order.
        case postponed
        case arrived([UInt8])
        case failed(FetchError)
    }

    private(set) var state = State.due(at: BootTime(nanoseconds: 0))
    /// The memory that the body comes into.
    let reservation: MemoryReservation
    private let settings: Settings
    private var tries = 0

    init(_ settings: Settings, _ reservation: MemoryReservation) {
        (self.settings, self.reservation) = (settings, reservation)
    }

    mutating func began(id: Int) {
        tries += 1
        state = .underWay(id: id)
    }

    mutating func ended(_ result: Result<FetchedBody, FetchError>, at now: BootTime) {
        reservation.settle(at: (try? result.get().bytes.count) ?? 0)
        switch result {
        case .success(let body): state = .arrived(body.bytes)
        case .failure(.noRoom):
            tries -= 1
            state = .postponed
        case .failure(let error) where error.isWorthRetrying && tries < settings.tries:
            again(at: now)
        case .failure(let error): state = .failed(error)
        }
    }

    /// Says that what arrived was of no use; whether it is fetched once more, or still on its way.
    mutating func rejected(at now: BootTime) -> Bool {
        guard case .arrived = state else { return true }
        guard tries < settings.tries else { return false }
        again(at: now)
        return true
    }

    private mutating func again(at now: BootTime) {
        state = .due(at: now.advanced(by: settings.firstPause * (1 << max(0, tries - 1))))
    }

    var isUnderWay: Bool {
        if case .underWay = state { true } else { false }
    }

    var hasFailed: Bool {
        if case .failed = state { true } else { false }
    }

    /// When to begin; `nil` when that is not the next thing to do.
    var dueTime: BootTime? {
        switch state {
        case .due(let time): time
        case .postponed: reservation.mayExceedLimit ? BootTime(nanoseconds: 0) : nil
        case .underWay, .arrived, .failed: nil
        }
    }

    /// What has arrived; `nil` while it is on its way.
    func bytes() throws(FetchError) -> [UInt8]? {
        switch state {
        case .due, .underWay, .postponed: nil
        case .arrived(let bytes): bytes
        case .failed(let error): throw error
        }
    }
}

extension FetchError {
    fileprivate var isWorthRetrying: Bool {
        switch self {
        case .cancelled, .tooLarge, .refusedRedirect, .refusedAddress, .noRoom: false
        case .network, .timedOut, .http, .truncated: !isGone
        }
    }
}
