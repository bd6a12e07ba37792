import HTTP
import JSON
import Posix
import StreamVaultTelemetry

extension ExporterService {
    mutating func metrics(_ request: Request) -> Response {
        let head = heads.read(request)
        let recorders = look()
        let tag = request.method == .get ? noteScrape(by: head.kind, request.connection) : nil
        let own = [own.source(now: .now())] + (ingest.map { [$0.source] } ?? [])
        let sources =
            own + zip(recorders, visible.hiddenIndexes).map { MetricSource($0, hidden: $1) }
        let body =
            switch head.format {
            case .text: textPage.render(sources)
            case .openMetrics: openMetricsPage.render(sources)
            case .protobuf: protobufPage.render(sources)
            }
        var response = Response(
            contentType: head.format.contentType,
            headers: [("Vary", "Accept")],
            body: body
        )
        (response.tag, response.reportsEnd) = (tag?.rawValue, true)
        return response
    }

    /// A scrape of what was just looked at.
    private mutating func noteScrape(by kind: ScraperKind, _ connection: UInt64) -> ScrapeTag? {
        let now = BootTime.now()
        let tag = leaving.noteScrape(by: kind, connection, at: now)
        own.note(
            scrapers: leaving.scraperCount(at: now),
            isFinalScrapePending: leaving.awaited == .scrapers
        )
        return tag
    }

    /// A preStop hook, which the pod's termination begins with.
    mutating func terminating() -> Response {
        leaving.noteTermination(at: .now())
        return .text(.ok, "ok")
    }

    mutating func health() -> Response {
        let recorders = look()
        let report = healthReport(of: recorders)
        return Response(
            Status(report.httpStatus),
            contentType: "application/health+json",
            body: JSONWriter.write(report.json, .line)
        )
    }

    /// The answer to a probe, or to one of its checks, as in `/livez/recorder/cam-1`.
    mutating func probe(_ probe: Probe, _ request: Request) -> Response {
        let recorders = look()
        let report = healthReport(of: recorders)
        let below = request.path.dropFirst(probe.path.count)
        guard !below.isEmpty else { return ProbeAnswer(probe, report, request).response }
        return ProbeAnswer(probe, report, check: String(below.dropFirst())).response
    }

    /// How the last runs of each recorder ended, the latest last.
    mutating func shutdowns() -> Response {
        let recorders = look().map { known -> JSONValue in
            [
                "recorder": .string(known.name),
                "shutdowns": .array(known.snapshot?.history.map(\.json) ?? []),
            ]
        }
        let document = JSONWriter.write(["recorders": .array(recorders)], .line)
        return Response(contentType: "application/json", body: document)
    }

    /// The health of what the last look has shown.
    func healthReport(of recorders: [KnownRecorder]) -> HealthReport {
        HealthReport(
            recorders,
            blindness: directory.listingFailure,
            hasSeenRecorder: directory.hasSeenRecorder,
            uptime: BootTime.now().since(startedAt),
            policy
        )
    }
}
