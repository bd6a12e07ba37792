import Posix

extension IngestServer {
    /// Opens the socket that the arguments ask for; `nil` when they ask for none.
    ///
    /// From now on the runs that another exporter kept are held: nobody may be served before, or they would look dead.
    static func start(_ arguments: Arguments, _ log: Log) throws(StartError) -> IngestServer? {
        guard let path = arguments.ingestSocket else { return nil }
        let directory: IngestDirectory
        do throws(SystemError) {
            // This exporter may be the first on the volume, or the volume may come late.
            try FileSystem.makeDirectories(arguments.telemetryDirectory)
            try FileSystem.makeParentDirectory(of: path)
            directory = try IngestDirectory(
                path: arguments.telemetryDirectory,
                resumeGrace: arguments.resumeGrace,
                now: .now()
            )
        } catch {
            let problem = "telemetry-dir must be writable for ingest.socket: \(error)"
            throw StartError(description: problem)
        }
        do throws(SystemError) {
            return try IngestServer(path: path, directory, log)
        } catch {
            throw StartError(description: "ingest.socket: \(error)")
        }
    }
}
