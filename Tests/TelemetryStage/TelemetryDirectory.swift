import Foundation
package import StreamVaultTelemetry

/// A telemetry directory that is removed after the test.
package final class TelemetryDirectory {
    package let path: String

    package init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    package func file(_ name: String) -> String { "\(path)/\(name).telemetry" }

    package func publisher(_ name: String = "cam") throws -> Publisher {
        let phases = [
            PhaseBudget("recordings", budget: .seconds(30)),
            PhaseBudget("database", budget: .seconds(5)),
        ]
        // No thread repairs the file: a test may damage it.
        return try Publisher(
            RunIdentity(starting: name, "1.0", heartbeatInterval: .seconds(1)),
            directory: path,
            phases: phases
        )
    }
}
