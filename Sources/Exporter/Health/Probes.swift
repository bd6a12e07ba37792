import HTTP
import StreamVaultTelemetry

/// A probe with the interface of the Kubernetes API server: of all checks, or of one.
enum Probe: String, CaseIterable, Sendable {
    /// Fails when a recorder must be restarted, like `/health`.
    case livez
    /// Fails unless every recorder records.
    case readyz
    /// Fails while a recorder is starting; the exporter starts first, so there may be none.
    case startupz

    var path: String { "/\(rawValue)" }

    /// All checks, in the order of the output.
    private func checks(of report: HealthReport) -> [HealthCheck] {
        var checks = [HealthCheck(name: "ping", failure: nil)]
        if report.recorders.isEmpty, self != .startupz {
            checks.append(HealthCheck(name: "recorder", failure: noRecorderFailure(in: report)))
        }
        return checks
            + report.recorders.map {
                HealthCheck(name: "recorder/\($0.name)", failure: failure(of: $0))
            }
    }

    private func noRecorderFailure(in report: HealthReport) -> String? {
        switch self {
        case .livez: report.toleratesNoRecorder ? nil : report.noRecorderReason
        case .readyz, .startupz: report.noRecorderReason
        }
    }

    private func failure(of recorder: RecorderHealth) -> String? {
        let passes =
            switch self {
            case .livez: recorder.status != .fail
            case .readyz: recorder.isReady
            case .startupz: recorder.hasStarted
            }
        guard !passes else { return nil }
        return recorder.note.map { "\(recorder.state): \($0)" } ?? recorder.state
    }

    /// Runs all checks that the request does not exclude, and lists them when one fails.
    ///
    /// The text is that of the API server's `healthz` package. The status of a failure is not: 500 there, and the reasons
    /// are withheld; load balancers understand 503, and operators need the reason.
    func response(to request: Request, _ report: HealthReport) -> Response {
        var excluded = Set(request.queries("exclude"))
        var lines = ""
        var passes = true
        for check in checks(of: report) {
            if excluded.remove(check.name) != nil {
                lines += "[+]\(check.name) excluded: ok\n"
            } else {
                lines += check.line
                passes = passes && check.failure == nil
            }
        }
        if !excluded.isEmpty {
            let names = excluded.sorted().map(\.debugDescription).joined(separator: ",")
            lines += "warn: some health checks cannot be excluded: no matches for \(names)\n"
        }
        lines += "\(rawValue) check \(passes ? "passed" : "failed")\n"
        let isVerbose = !passes || request.query("verbose") != nil
        return Self.response(passes: passes, isVerbose ? lines : "ok")
    }

    /// The result of one check; 404 when there is none of that name.
    ///
    /// `recorder/NAME` is also a check of a recorder that has not been seen.
    func response(toCheck name: String, _ report: HealthReport) -> Response {
        let known = checks(of: report).first { $0.name == name }
        let prefix = "recorder/"
        let isRecorder =
            name.hasPrefix(prefix) && RunIdentity.isName(String(name.dropFirst(prefix.count)))
        let unseen =
            isRecorder ? HealthCheck(name: name, failure: noRecorderFailure(in: report)) : nil
        guard let check = known ?? unseen else { return .notFound }
        let passes = check.failure == nil
        return Self.response(passes: passes, passes ? "ok" : check.line)
    }

    private static func response(passes: Bool, _ text: String) -> Response {
        Response(
            passes ? .ok : .unavailable,
            contentType: "text/plain; charset=utf-8",
            headers: [("X-Content-Type-Options", "nosniff")],
            body: Array(text.utf8)
        )
    }
}

/// A check of a probe.
private struct HealthCheck {
    let name: String
    /// `nil` when it passes.
    let failure: String?

    /// Its line in the output; a phase's name from a damaged segment may contain line breaks.
    var line: String {
        guard let failure else { return "[+]\(name) ok\n" }
        let reason = failure.unicodeScalars.map { $0.value < 0x20 ? " " : String($0) }.joined()
        return "[-]\(name) failed: \(reason)\n"
    }
}
