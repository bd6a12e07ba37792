import Foundation
import FoundationNetworking
import Glibc
import Posix
import Synchronization

/// One request under way: the session's thread fills it, the recording's thread waits for it.
final class Exchange: Sendable {
    private let limits: Fetcher.Limits
    private let state: Mutex<ExchangeState>
    /// Readable once the exchange is over.
    private let done: Posix.Pipe

    init(url: URL, limits: Fetcher.Limits) throws(FetchError) {
        self.limits = limits
        state = Mutex(ExchangeState(url: url, limits: limits))
        do throws(SystemError) {
            done = try Posix.Pipe()
        } catch {
            throw .network("\(error)")
        }
    }

    /// Changes the state, unless the exchange is over; wakes the waiting thread when that ends it.
    func update(_ change: (inout ExchangeState) -> Void) {
        let ended = state.withLock { state in
            guard !state.isOver else { return false }
            change(&state)
            return state.isOver
        }
        guard ended else { return }
        let byte: [UInt8] = [1]
        try? done.writer.writeAll(byte.span)
    }

    /// Says that the session is done with its task.
    func complete(_ failure: FetchError?, status: Int) {
        update { $0.complete(failure, status: status) }
        state.withLock { $0.isSettled = true }
    }

    /// Takes a redirect; `follow` is called with the address to ask instead, unless that is refused or nobody waits.
    ///
    /// The session ends the process when it is told, of a task that has been cancelled, whether to follow a redirect.
    /// So `follow` is never called after `settle` has begun, and nothing is said of a redirect that is refused.
    func redirect(to location: String, follow: (URL) -> Void) {
        update { state in
            guard !state.isSettled, let next = state.redirect(to: location) else { return }
            follow(next)
        }
    }

    /// Ends the exchange; calls `cancel` when the session is still at work.
    func settle(cancel: () -> Void) {
        let wasSettled = state.withLock { state in
            defer { state.isSettled = true }
            return state.isSettled
        }
        if !wasSettled { cancel() }
    }

    /// Waits for the end; the error says that it came too late or was not wanted any more.
    func wait(for timeout: Duration, until stop: StopSignal) -> FetchError? {
        let deadline = BootTime.now().advanced(by: timeout)
        while true {
            var entries = [done.reader.rawValue, stop.readableDescriptor].map {
                pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
            }
            let left = deadline.since(.now()).wholeNanoseconds
            _ = unsafe poll(&entries, 2, CInt(clamping: (left + 999_999) / 1_000_000))
            if entries[0].revents != 0 { return nil }
            if entries[1].revents != 0 { return .cancelled }
            if left == 0 { return .timedOut }
        }
    }

    /// The body, if it has become whole even after the wait was broken off with `failure`.
    func result(or failure: FetchError?) throws(FetchError) -> FetchedBody {
        let outcome = state.withLock { $0.outcome }
        guard let outcome else { throw failure ?? .cancelled }
        return try outcome.get()
    }
}

/// What has come of a body so far; pure.
struct ExchangeState {
    private let limits: Fetcher.Limits
    private var url: URL
    private var redirects = 0
    private var hasHead = false
    private var announced: Int?
    private var bytes: [UInt8] = []
    private(set) var outcome: Result<FetchedBody, FetchError>?
    /// Whether the session is done with the task, or has been told to be.
    var isSettled = false

    init(url: URL, limits: Fetcher.Limits) {
        self.url = url
        self.limits = limits
    }

    var isOver: Bool { outcome != nil }

    /// Takes a redirect; the address to ask instead, or `nil` when it is refused.
    mutating func redirect(to location: String) -> URL? {
        redirects += 1
        do throws(RedirectError) {
            url = try following(location)
            return url
        } catch {
            outcome = .failure(.refusedRedirect(error))
            return nil
        }
    }

    private func following(_ location: String) throws(RedirectError) -> URL {
        guard redirects <= limits.redirects else { throw .tooMany }
        do throws(AddressError) {
            return try MediaAddress.resolve(location, at: url)
        } catch {
            throw .address(error)
        }
    }

    /// Takes the head of the answer; `length` is `Content-Length`, `nil` when it does not count the body's bytes.
    mutating func head(status: Int, length: Int?) {
        guard status == 200 else {
            outcome = .failure(.http(status: status))
            return
        }
        (hasHead, announced) = (true, length)
        guard let length else { return }
        if length > limits.bytes { outcome = .failure(.tooLarge(limit: limits.bytes)) }
    }

    mutating func body(_ data: Data) {
        guard bytes.count + data.count <= limits.bytes else {
            outcome = .failure(.tooLarge(limit: limits.bytes))
            return
        }
        if bytes.isEmpty, let announced { bytes.reserveCapacity(announced) }
        bytes.append(contentsOf: data)
    }

    /// Takes the end; `status` is for an answer whose head was kept back, such as a redirect to nowhere.
    mutating func complete(_ failure: FetchError?, status: Int) {
        if let announced, announced != bytes.count {
            outcome = .failure(.truncated(received: bytes.count, announced: announced))
        } else if let failure {
            outcome = .failure(failure)
        } else if hasHead {
            outcome = .success(FetchedBody(bytes: bytes, url: url))
        } else {
            outcome = .failure(.http(status: status))
        }
        bytes = []
    }
}
