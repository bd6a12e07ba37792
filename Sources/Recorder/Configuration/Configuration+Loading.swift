import Fetch
import Glibc
import HTTP
import JSON
import Posix

extension Configuration {
    /// Reads and checks the file, and puts what the command line says over it.
    ///
    /// - Throws: all mistakes at once, one line each; of a file that is not JSON5 only the first.
    static func load(_ arguments: Arguments) throws(ConfigurationError) -> Configuration {
        let path = arguments.configPath
        return try check(try parse(try readFile(path), of: path), arguments: arguments)
    }

    /// For a path that names a pipe: until somebody has written to it, and closed it.
    static let readTimeout = Duration.seconds(5)

    private static func readFile(_ path: String) throws(ConfigurationError) -> [UInt8] {
        do throws(SystemError) {
            return try FileDescriptor.content(
                of: path,
                atMost: mostFileBytes,
                until: .now().advanced(by: readTimeout)
            )
        } catch {
            let problem =
                switch error.code {
                case EFBIG: "larger than \(mostFileBytes) bytes"
                case ETIMEDOUT: "nobody has written all of it within \(readTimeout.text)"
                default: "cannot be read: \(error.reason)"
                }
            throw ConfigurationError(lines: ["\(path): \(problem)"])
        }
    }

    private static func parse(
        _ bytes: [UInt8],
        of path: String
    ) throws(ConfigurationError) -> JSONValue {
        do throws(JSONError) {
            return try JSONReader.read(bytes, as: .json5)
        } catch {
            throw ConfigurationError(lines: ["\(path): \(error)"])
        }
    }

    /// Checks a parsed file.
    static func check(
        _ file: JSONValue,
        arguments: Arguments
    ) throws(ConfigurationError) -> Configuration {
        let problems = ConfigurationProblems()
        let configuration = ConfigurationFields(file, at: "", problems: problems).map {
            (fields: ConfigurationFields) in
            var fields = fields
            var configuration = Configuration(reading: &fields)
            fields.finish()
            configuration.override(with: arguments, problems: problems)
            return configuration
        }
        guard let configuration, problems.lines.isEmpty else {
            throw ConfigurationError(lines: problems.lines)
        }
        return configuration
    }

    private mutating func override(
        with arguments: Arguments,
        problems: ConfigurationProblems
    ) {
        recorderName = arguments.recorderName ?? recorderName
        if !ConfigurationRules.isName(recorderName) {
            let source = arguments.recorderName == nil ? "name" : "--recorder.name"
            problems.add(source, ConfigurationRules.nameRule)
        }
        telemetryDirectory = arguments.telemetryDirectory ?? telemetryDirectory
        gracePeriod = arguments.gracePeriod ?? gracePeriod
        if !arguments.listenAddresses.isEmpty { listenAddresses = arguments.listenAddresses }
        for text in listenAddresses {
            let isFlag = !arguments.listenAddresses.isEmpty
            do throws(ListenAddressError) {
                _ = try ListenAddress(text)
            } catch {
                problems.add(isFlag ? "--web.listen-address" : "web.listen_address", "\(error)")
            }
        }
        bearerTokenFile = arguments.bearerTokenFile ?? bearerTokenFile
        if !arguments.allowedHosts.isEmpty { allowedHosts = arguments.allowedHosts }
        let source = arguments.allowedHosts.isEmpty ? "web.allowed_hosts" : "--web.allowed-host"
        for host in allowedHosts where !HostPolicy.isName(host) {
            problems.add(source, HostPolicy.validationError(for: host))
        }
        logFile = arguments.logFile ?? logFile
    }
}

extension Configuration {
    private init(reading fields: inout ConfigurationFields) {
        let directory = fields.text("recordings_dir", isRequired: true) ?? ""
        recordingsDirectory = directory
        cataloguePath = fields.text("catalogue") ?? "\(directory)/catalogue.sqlite"
        recorderName = fields.text("name") ?? recorderName
        telemetryDirectory = fields.text("telemetry_dir") ?? telemetryDirectory
        syncInterval = fields.duration("sync_interval", in: Self.syncIntervalBounds) ?? syncInterval
        resumeWindow =
            fields.duration("resume_within", in: Self.resumeWindowBounds) ?? resumeWindow
        fields.object("shutdown") { shutdown in
            gracePeriod =
                shutdown.duration("grace_period", in: Self.gracePeriodBounds) ?? gracePeriod
        }
        fields.object("web") { web in
            listenAddresses = web.texts("listen_address") ?? listenAddresses
            bearerTokenFile = web.text("bearer_token_file")
            allowedHosts = web.texts("allowed_hosts") ?? allowedHosts
            allowedOrigins = web.origins("allowed_origins")
        }
        fields.object("network") { network in
            for text in network.texts("allow_private") ?? []
            where !addressExceptions.take(text) {
                network.report("allow_private", "\"\(text)\" \(AddressExceptions.rule)")
            }
        }
        fields.object("programs") { programs in
            noNewPrivileges = programs.boolean("no_new_privileges") ?? noNewPrivileges
        }
        fields.object("twitch") { twitch = TwitchConfiguration(reading: &$0) }
        fields.object("hls") { hls in
            segmentMemory = hls.segmentMemory("memory") ?? segmentMemory
        }
        fields.object("log") { log in logFile = log.text("file") }
        fields.object("disk") { disk = DiskSettings(reading: &$0) }
        fields.object("retention") { retention.overall = RetentionRules(reading: &$0) }
        fields.object("remux") { remux = RemuxSettings(reading: &$0) }
        let splitAfter = fields.duration("split_after", in: Self.splitBounds)
        streams = StreamConfiguration.readAll(from: &fields)
        for index in streams.indices where streams[index].canBeSplit {
            streams[index].splitAfter = streams[index].splitAfter ?? splitAfter
        }
        for stream in streams where !stream.retention.isEmpty {
            retention.byStream[stream.name] = stream.retention
        }
        checkBroadcasters(problems: fields.problems)
    }

    /// A stream that Twitch switches would never be on without Twitch.
    private func checkBroadcasters(problems: ConfigurationProblems) {
        guard twitch == nil, let stream = streams.first(where: { $0.broadcaster != nil }) else {
            return
        }
        problems.add("twitch", "is required for stream \"\(stream.name)\", which Twitch switches")
    }
}
