import Glibc
import HTTP
import Ingest
import Posix

/// The exporter's one loop: waits for all events, and ends when the exporter may exit.
struct ServeLoop: ~Copyable {
    /// For responses that are being sent when the exporter exits.
    private static let drainTime = Duration.milliseconds(500)

    private var service: ExporterService
    private var ingest: IngestServer?
    private let log: Log
    private var polled = PollSet()
    private var awaited = Leaving.Awaited.nothing

    init(_ service: ExporterService, _ ingest: consuming IngestServer?, _ log: Log) {
        self.service = service
        self.ingest = ingest
        self.log = log
    }

    /// Serves until the exporter may exit; without events and deadlines, it sleeps.
    mutating func run(_ server: inout Server, _ signals: inout Signals) throws(SystemError) {
        var wake: BootTime?
        while true {
            polled.removeAll()
            polled.append(signals.descriptor, for: .reading)
            try turn(&server, until: [wake, signals.nextCheck].compactMap(\.self).min())
            if polled.isReady(0) || signals.nextCheck != nil {
                while let request = signals.nextRequest() { note(request) }
            }
            switch service.decide(at: .now()) {
            case .stay(let until): wake = until
            case .leave(let departure): return try leave(&server, departure)
            }
            noteAwaited(&server)
        }
    }

    /// Waits for the descriptors in `polled` and those of both servers, and serves those that are ready.
    private mutating func turn(
        _ server: inout Server,
        until deadline: BootTime?
    ) throws(SystemError) {
        let serverDeadline = server.prepare(&polled)
        let ingestDeadline = ingest?.prepare(&polled) ?? nil
        if let blocked = log.blockedDescriptor { polled.append(blocked, for: .writing) }
        let deadlines = [deadline, serverDeadline, ingestDeadline]
        _ = try polled.wait(until: deadlines.compactMap(\.self).min())
        try server.serve(polled) { service.respond(to: $0) }
        if log.blockedDescriptor != nil { log.resume() }
        ingest?.reserve(service.directory.namesInUse(at: .now()))
        try ingest?.serve(polled)
        if let counters = ingest?.counters { service.ingest?.note(counters) }
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
        let end = BootTime.now().advanced(by: Self.drainTime)
        while departure.isPatient, server.busyConnections > 0, .now() < end {
            polled.removeAll()
            try turn(&server, until: end)
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
