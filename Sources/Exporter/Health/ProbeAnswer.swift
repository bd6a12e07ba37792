import HTTP

/// What a probe answers, to the letter of the API server's `healthz` package, but for the status of a failure.
///
/// It has 500 and keeps the reasons to itself; a load balancer understands 503, and an operator wants the reason.
struct ProbeAnswer {
    let response: Response

    /// Runs every check that the request does not exclude; lists them all when one fails.
    init(_ probe: Probe, _ report: HealthReport, _ request: Request) {
        var excluded = Set(request.queries("exclude"))
        var lines = ""
        var passes = true
        for check in probe.checks(of: report) {
            if excluded.remove(check.name) != nil {
                lines += "[+]\(check.name) excluded: ok\n"
            } else {
                lines += check.line
                passes = passes && check.trouble == nil
            }
        }
        lines += Self.warning(ofUnknown: excluded)
        let isVerbose = !passes || request.query("verbose") != nil
        lines += "\(probe.rawValue) check \(passes ? "passed" : "failed")\n"
        response = Self.response(passes, isVerbose ? lines : "ok")
    }

    /// The one check that is named; 404 when there is none of that name.
    init(_ probe: Probe, _ report: HealthReport, check name: String) {
        guard let check = probe.check(name, of: report) else {
            response = .notFound
            return
        }
        response = Self.response(check.trouble == nil, check.trouble == nil ? "ok" : check.line)
    }

    private static func warning(ofUnknown excluded: Set<String>) -> String {
        guard !excluded.isEmpty else { return "" }
        let names = excluded.sorted().map(\.debugDescription).joined(separator: ",")
        return "warn: some health checks cannot be excluded: no matches for \(names)\n"
    }

    private static func response(_ passes: Bool, _ text: String) -> Response {
        Response(
            passes ? .ok : .unavailable,
            contentType: "text/plain; charset=utf-8",
            headers: [("X-Content-Type-Options", "nosniff")],
            body: Array(text.utf8)
        )
    }
}
