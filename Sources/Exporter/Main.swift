import CommandLine
import Glibc
import HTTP
import Ingest
import JSON
import Posix
import StreamVaultTelemetry

/// The version, for `--version` and the metrics.
let exporterVersion = "0.1.0"

/// `streamvault-exporter`: serves telemetry segments, prints one, or checks the health of a server.
@main
enum Main {
    static func main() {
        FileDescriptor.openStandard()
        do {
            let words = Array(CommandLine.arguments.dropFirst())
            switch try Arguments.table.parse(words, environment: processEnvironment()) {
            case .help(let text): print(text, terminator: "")
            case .version: print("streamvault-exporter \(exporterVersion)")
            case .run(let values): try run(values)
            }
        } catch let error as CommandLineError {
            exit(64, "\(error)")
        } catch let error as HealthcheckURLError {
            exit(64, "\(error)")
        } catch {
            exit(1, "\(error)")
        }
    }

    private static func run(_ values: CommandLineValues) throws {
        switch (values.operands.first, values.operands.count) {
        case (nil, _): try serve(try Arguments(values))
        case ("dump", 2): try dump(values.operands[1])
        case ("dump", _): throw CommandLineError("dump takes one FILE, see --help")
        case ("healthcheck", 2):
            let check = Healthcheck(
                try HealthcheckURL(values.operands[1]),
                timeout: values.duration("timeout") ?? Healthcheck.defaultTimeout,
                agent: "streamvault-exporter/\(exporterVersion)"
            )
            try check.run()
        case ("healthcheck", _): throw CommandLineError("healthcheck takes one URL, see --help")
        case (let command?, _): throw CommandLineError("\(command): unknown command, see --help")
        }
    }

    private static func dump(_ path: String) throws {
        var reader = SegmentReader(path: path)
        do {
            let text = JSONWriter.write(
                SegmentDump(snapshot: try reader.snapshot()).json,
                .indented
            )
            try FileDescriptor(adopting: STDOUT_FILENO).writeAll(text.span)
        } catch {
            throw StartError(description: "\(path): \(error)")
        }
    }

    private static func serve(_ arguments: Arguments) throws {
        try Signals.prepare()
        var signals = try Signals(Signals.stopping)
        var server = try listen(on: arguments.listenAddresses)
        server.hosts = HostPolicy(allowed: arguments.allowedHosts)
        let log = Log()
        var service = try ExporterService(arguments, version: exporterVersion, log)
        var ingest = try startIngest(arguments, log)
        let listening = server.addresses.map { "\($0)" }.joined(separator: ",")
        let directory = arguments.telemetryDirectory
        log(.info, "Exporter started", ["listen": listening, "telemetry_dir": directory])
        defer { log.flush(within: .milliseconds(500)) }
        try service.run(&server, &ingest, &signals)
    }

    private static func listen(on addresses: [ListenAddress]) throws(StartError) -> Server {
        do throws(SystemError) {
            return try Server(on: addresses)
        } catch {
            throw StartError(description: "web.listen-address: \(error)")
        }
    }

    /// Opens the ingest socket that the arguments name; `nil` when they name none.
    ///
    /// From then on the runs of a previous exporter are held: before that, no request may be answered, because they would
    /// count as dead.
    private static func startIngest(
        _ arguments: Arguments,
        _ log: Log
    ) throws(StartError) -> IngestServer? {
        guard let path = arguments.ingestSocket else { return nil }
        let directory: IngestDirectory
        do throws(SystemError) {
            // This exporter may be the first program on the volume, or the volume may be mounted later.
            try FileSystem.makeDirectories(arguments.telemetryDirectory)
            try FileSystem.makeParentDirectory(of: path)
            directory = try IngestDirectory(
                path: arguments.telemetryDirectory,
                resumeGrace: arguments.resumeGrace,
                now: .now()
            )
        } catch {
            let reason = "telemetry-dir must be writable for ingest.socket: \(error)"
            throw StartError(description: reason)
        }
        do throws(SystemError) {
            return try IngestServer(path: path, directory, log)
        } catch {
            throw StartError(description: "ingest.socket: \(error)")
        }
    }

    /// Exits with one line on standard error; the status follows `sysexits.h`.
    private static func exit(_ status: CInt, _ message: String) -> Never {
        let line = Array("streamvault-exporter: \(visible(message))\n".utf8)
        unsafe line.withUnsafeBytes { _ = unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
        Glibc.exit(status)
    }
}
