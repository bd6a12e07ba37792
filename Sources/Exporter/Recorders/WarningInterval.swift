import Posix

/// Decides which warnings are logged about things that strangers name: one for each name, again after ten minutes, and few
/// names at a time.
struct WarningInterval {
    private static let interval = Duration.seconds(600)
    private static let maxNames = 64

    private var lastLogged: [String: BootTime] = [:]

    /// Whether a warning about `name` is to be logged now; if so, it counts as logged.
    mutating func allows(_ name: String, at now: BootTime) -> Bool {
        if let last = lastLogged[name], now.since(last) < Self.interval { return false }
        lastLogged = lastLogged.filter { now.since($0.value) < Self.interval }
        guard lastLogged.count < Self.maxNames else { return false }
        lastLogged[name] = now
        return true
    }
}
