/// Pauses between attempts: half a second, doubled up to half a minute; they begin anew once a source has run for a while.
///
/// A source that delivers a little and fails would otherwise leave two files a second.
struct Backoff {
    private static let first = Duration.milliseconds(500)
    private var pause = first

    mutating func next() -> Duration {
        defer { pause = min(pause * 2, .seconds(30)) }
        return pause
    }

    mutating func ran(for time: Duration) {
        if time >= .seconds(10) { pause = Self.first }
    }
}
