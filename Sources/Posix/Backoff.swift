/// Growing pauses between attempts: half a second, doubled up to half a minute; they start again once an attempt has run for a while.
///
/// Without them, a source that delivers a little and fails would leave two files a second.
package struct Backoff {
    private static let first = Duration.milliseconds(500)
    private var pause = first

    package init() {}

    package mutating func next() -> Duration {
        defer { pause = min(pause * 2, .seconds(30)) }
        return pause
    }

    package mutating func ran(for time: Duration) {
        if time >= .seconds(10) { pause = Self.first }
    }
}
