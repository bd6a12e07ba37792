import Foundation

/// How much the tests do, from the environment.
enum Effort {
    /// Every case instead of a sample: minutes without optimisation, `TELEMETRY_EXHAUSTIVE=1`.
    static let isExhaustive = ProcessInfo.processInfo.environment["TELEMETRY_EXHAUSTIVE"] == "1"

    /// Duration of the concurrency tests, `TELEMETRY_STRESS_SECONDS`.
    static let stressSeconds =
        ProcessInfo.processInfo.environment["TELEMETRY_STRESS_SECONDS"].flatMap(Double.init) ?? 3

    /// `0..<count`, or a sample of it that has all of the header.
    static func offsets(_ count: Int, each step: Int) -> [Int] {
        if isExhaustive { return Array(0..<count) }
        return Array(0..<min(512, count)) + Array(stride(from: 512, to: count, by: step))
    }
}
