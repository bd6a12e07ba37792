import HTTP
import Posix
import Synchronization

/// Serves the API on a thread of its own, until the process ends: nothing stops it, so it outlives every phase.
final class APIServer: Sendable {
    /// Held by the thread for ever.
    private let server: Mutex<Server>

    /// What a client may send as content: many times a delivery of EventSub.
    static var limits: Limits {
        var limits = Limits()
        limits.contentBytes = 64 << 10
        return limits
    }

    /// Takes over a server that already listens, so that a port in use is found before anything starts.
    init(_ server: consuming sending Server) {
        self.server = Mutex(server)
    }

    func start(_ api: RecorderAPI, _ log: Log) throws(SystemError) {
        let pause = try StopSignal()
        let limiter = LogLimiter()
        try DetachedThread.start(named: "api") { [self] in
            while true {
                do throws(SystemError) {
                    try serve(api, log)
                } catch {
                    // Without an API the liveness probe would have all recordings stopped.
                    log(
                        .error,
                        "API failed, and is tried again",
                        ["error": "\(error)"],
                        limitedBy: limiter,
                        condition: "\(error)"
                    )
                    _ = pause.wait(until: BootTime.now().advanced(by: .seconds(1)))
                }
            }
        }
    }

    private func serve(_ api: RecorderAPI, _ log: Log) throws(SystemError) -> Never {
        try server.withLock { server throws(SystemError) in
            var polled = PollSet()
            while true {
                polled.removeAll()
                let deadline = server.prepare(&polled)
                _ = try polled.wait(until: deadline)
                try server.serve(polled) { api.respond(to: $0) }
                handOver(from: &server, to: api.broadcaster)
                if let count = server.evictionsToReport() {
                    log(.warn, "Connections closed to make room for others", ["count": "\(count)"])
                }
            }
        }
    }

    private func handOver(from server: inout Server, to broadcaster: Broadcaster) {
        while true {
            do throws(SystemError) {
                guard let upgraded = try server.nextUpgraded() else { return }
                broadcaster.adopt(WebSocketArrival(upgraded))
            } catch {
                continue  // Without a descriptor for it, the client was closed; it will try again.
            }
        }
    }
}
