import CommandLine
import FuzzSupport
import Glibc
import Posix
import StreamVaultTelemetry

@testable import Exporter

/// An exporter's service beside a recorder of this very process, with a token in its way.
enum Stage {
    /// In lower case.
    static let token = "a-token"

    static let metricsPath: MetricsPath = {
        do throws(CommandLineError) {
            return try MetricsPath("/metrics")
        } catch {
            fatalError("\(error)")
        }
    }()

    private static let directory = "/tmp/fuzz-page-\(getpid())"

    static func service() -> ExporterService {
        do {
            try FileSystem.makeDirectory(directory)
            atexit { Stage.clear() }
            let file = try FileDescriptor(opening: "\(directory)/token", O_WRONLY | O_CREAT)
            try file.writeAll(Array(token.utf8).span)
            try publish()
            let flags = [
                "--telemetry-dir", directory, "--web.bearer-token-file", "\(directory)/token",
            ]
            guard case .run(let values) = try Arguments.table.parse(flags, environment: [:]) else {
                fatalError("no arguments")
            }
            return try ExporterService(try Arguments(values), version: "1", Log())
        } catch {
            fatalError("\(error)")
        }
    }

    private static func clear() {
        for name in (try? FileSystem.entries(of: directory)) ?? [] {
            unlink("\(directory)/\(name)")
        }
        rmdir(directory)
    }

    private static func publish() throws {
        let phases = [PhaseBudget("recordings", budget: .seconds(30))]
        let publisher = try Publisher(
            directory: directory,
            name: "cam-1",
            version: "1",
            phases: phases
        )
        publisher.startRecording(id: 1, stream: "gate", path: "/r", container: "ts").wrote(188)
        publisher.beginShutdown(signal: SIGTERM, gracePeriod: .seconds(60))
    }
}
