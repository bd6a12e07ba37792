import StreamVaultTelemetry

/// One thing that a probe checks.
struct HealthCheck {
    let name: String
    /// Why it fails; `nil` when it does not.
    let trouble: String?

    init(_ name: String, trouble: String?) {
        (self.name, self.trouble) = (name, trouble)
    }

    /// Whether `name` is that of a check of one recorder: `recorder/NAME`.
    static func namesRecorder(_ name: String) -> Bool {
        name.hasPrefix("recorder/") && Identity.isName(String(name.dropFirst("recorder/".count)))
    }

    /// As in a probe's list; a name of a phase may come from a damaged segment, and stays one line.
    var line: String {
        guard let trouble else { return "[+]\(name) ok\n" }
        let words = trouble.unicodeScalars.map { $0.value < 0x20 ? " " : String($0) }.joined()
        return "[-]\(name) failed: \(words)\n"
    }
}
