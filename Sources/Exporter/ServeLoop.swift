import Glibc
import HTTP
import Posix

/// The exporter's one loop: waits for all that may happen, and ends when the exporter may leave.
struct ServeLoop {
    /// For responses that are under way when the exporter leaves.
    private static let farewell = Duration.milliseconds(500)

    private var service: ExporterService
    private let log: Log
    private var awaited = Leaving.Awaited.nothing

    init(_ service: ExporterService, _ log: Log) {
        (self.service, self.log) = (service, log)
    }

    /// Serves until the exporter may leave; without a reason to wake up, it sleeps.
    mutating func run(_ server: inout Server, _ signals: inout Signals) throws(SystemError) {
        var wake: BootTime?
        while true {
            let until = [wake, signals.nextCheck].compactMap(\.self).min()
            let readable = try serve(&server, until: until, alsoWatching: [signals.descriptor])
            if !readable.isEmpty || signals.nextCheck != nil {
                while let request = signals.nextRequest() { note(request) }
            }
            switch service.decide(at: .now()) {
            case .stay(let until): wake = until
            case .leave(let departure): return try leave(&server, departure)
            }
            noteAwaited(&server)
        }
    }

    /// One turn; which descriptors, of those that the server does not own, are readable after it.
    @discardableResult
    private mutating func serve(
        _ server: inout Server,
        until wake: BootTime?,
        alsoWatching descriptors: [CInt] = []
    ) throws(SystemError) -> [CInt] {
        let ingest = service.ingest
        let readable = try server.turn(
            until: [wake, ingest?.deadline].compactMap(\.self).min(),
            alsoWatching: descriptors + (ingest?.descriptors ?? []),
            orRoomIn: log.blockedDescriptor
        ) { service.respond(to: $0) }
        if log.blockedDescriptor != nil { log.resume() }
        try ingest?.turn(ready: readable)
        service.own.note(rejections: server.counters.rejections)
        service.own.note(evictions: server.counters.evicted)
        if let count = server.evictionsToReport() {
            log(.warn, "Connections closed to make room for others", ["count": "\(count)"])
        }
        service.own.note(droppedLogLines: log.takeDroppedLines().standardOutput)
        for connection in server.removeClosed() {
            service.leaving.noteEnd(of: connection, at: .now())
        }
        for response in server.removeAcknowledged() { noteAcknowledged(response) }
        return readable
    }

    private mutating func note(_ request: Signals.Request) {
        switch request {
        case .stop(let signal):
            log(.info, "Stop requested", ["signal": "\(signal)"])
            // A terminal that closes sends its SIGHUP behind a Ctrl-C, and must not shorten the wait.
            if signal == SIGHUP, service.leaving.hasBegun { return }
            service.leaving.noteSignal(at: .now())
        case .reload: log(.info, "Nothing to reload", ["signal": "\(SIGHUP)"])
        case .drain: break
        }
    }

    private mutating func noteAcknowledged(_ response: AcknowledgedResponse) {
        let tag = ScrapeTag(rawValue: response.tag)
        guard let scraper = service.leaving.noteDelivery(tag), scraper.isGenuine else { return }
        log(.info, "Final state collected", ["by": "\(scraper.kind)"])
    }

    private mutating func noteAwaited(_ server: inout Server) {
        let now = service.leaving.awaited
        guard now != awaited else { return }
        awaited = now
        // A connection that is kept open would look like a scraper that is still to come.
        server.closing = now == .scrapers
        let (atMost, known, missing) = service.leaving.wait(at: .now())
        let limit = "\(Int(atMost.inSeconds.rounded(.up)))s"
        switch now {
        case .nothing: break
        case .recorders:
            let fields: KeyValuePairs = ["at_most": limit, "second_signal": "exits at once"]
            log(.info, "Waiting for the recorders to end", fields)
        case .scrapers:
            let fields: KeyValuePairs = [
                "at_most": limit, "scrapers": known == 0 ? "none seen yet" : "\(missing)",
                "second_signal": "exits at once",
            ]
            log(.info, "Waiting for the final state to be collected", fields)
        }
    }

    private mutating func leave(
        _ server: inout Server,
        _ departure: Departure
    ) throws(SystemError) {
        server.closing = true
        let end = BootTime.now().advanced(by: Self.farewell)
        while departure.isPatient, server.busyConnections > 0, .now() < end {
            try serve(&server, until: end)
        }
        for scraper in departure.missed {
            log(.warn, "Final state not collected", ["by": "\(scraper)"])
        }
        log(
            .info,
            "Exiting",
            [
                "reason": departure.reason.rawValue, "collected": "\(departure.collected.count)",
                "missed": "\(departure.missed.count)", "waited": departure.waited.text,
            ]
        )
    }
}
