/// A probe in the manner of the Kubernetes API server, of everything that is checked or of one thing.
enum Probe: String, CaseIterable, Sendable {
    /// Whether no recorder has to be restarted: what `/health` says.
    case livez
    /// Whether every recorder records.
    case readyz
    /// Whether every recorder that there is has started; the exporter starts first, so there may be none.
    case startupz

    var path: String { "/\(rawValue)" }

    /// All that is checked, in the order in which it is shown.
    func checks(of report: HealthReport) -> [HealthCheck] {
        var checks = [HealthCheck("ping", trouble: nil)]
        if report.recorders.isEmpty, self != .startupz {
            checks.append(HealthCheck("recorder", trouble: absence(in: report)))
        }
        return checks
            + report.recorders.map { HealthCheck("recorder/\($0.name)", trouble: trouble($0)) }
    }

    /// The check of that name; a recorder that may still come has one, too.
    func check(_ name: String, of report: HealthReport) -> HealthCheck? {
        if let check = checks(of: report).first(where: { $0.name == name }) { return check }
        guard HealthCheck.namesRecorder(name) else { return nil }
        return HealthCheck(name, trouble: absence(in: report))
    }

    /// What is wrong with the absence of a recorder.
    private func absence(in report: HealthReport) -> String? {
        switch self {
        case .livez: report.toleratesAbsence ? nil : report.absence
        case .readyz, .startupz: report.absence
        }
    }

    private func trouble(_ recorder: RecorderHealth) -> String? {
        let isWell =
            switch self {
            case .livez: recorder.status != .fail
            case .readyz: recorder.isReady
            case .startupz: recorder.hasStarted
            }
        guard !isWell else { return nil }
        return recorder.note.map { "\(recorder.state): \($0)" } ?? recorder.state
    }
}
