import Fetch
import FoundationEssentials
import HLS
import Media
import Posix
import StreamVaultTelemetry
import Twitch

/// A stream that can be recorded.
struct StreamConfiguration: Equatable, Sendable {
    /// The name in metrics, file names and the API; unique.
    let name: String
    /// The name for people.
    let title: String?
    let source: Source
    var record = RecordPolicy.always
    /// The broadcaster whose broadcasts switch the stream.
    var broadcaster: TwitchBroadcaster?

    var retention = RetentionRules()
    /// How long a recording lasts before the next one follows it; `nil` for no limit.
    var splitAfter: Duration?

    enum RecordPolicy: String, Sendable {
        /// From the start of the recorder.
        case always
        /// Between a start and a stop, by the API or by Twitch.
        case onDemand = "on_demand"
    }

    enum Source: Equatable, Sendable {
        /// An http or https URL of a playlist, and what to record of it.
        case hls(url: URL, quality: Quality = .best, from: StartPoint = .start)
        /// A program, by its path or its name in `PATH`, and its arguments.
        case command(argv: [String], container: MediaContainer)
    }
}

extension StreamConfiguration {
    /// Reads `streams`; a stream with an error is reported and left out.
    static func readAll(from fields: inout ConfigurationFields) -> [StreamConfiguration] {
        guard let items = fields.items("streams", isRequired: true) else { return [] }
        guard items.count <= Configuration.maxStreams else {
            fields.report("streams", "at most \(Configuration.maxStreams), not \(items.count)")
            return []
        }
        var pathsByName: [String: String] = [:]
        return items.compactMap { item in
            guard
                var stream = ConfigurationFields(
                    item.value,
                    at: item.path,
                    problems: fields.problems
                )
            else { return nil }
            defer { stream.finish() }
            return read(&stream, pathsByName: &pathsByName)
        }
    }

    private static func read(
        _ fields: inout ConfigurationFields,
        pathsByName: inout [String: String]
    ) -> StreamConfiguration? {
        let name = readName(&fields, pathsByName: &pathsByName)
        let title = fields.text("title")
        if let title, title.utf8.count > 256 {
            fields.report("title", "at most 256 bytes, not \(title.utf8.count)")
        }
        let broadcaster = TwitchBroadcaster(reading: &fields)
        let record = readPolicy(&fields, hasBroadcaster: broadcaster != nil)
        if fields.isMissing("source") { fields.report("source", "is required") }
        var source: Source?
        fields.object("source") { source = readSource(&$0) }
        var retention = RetentionRules()
        fields.object("retention") { retention = RetentionRules(reading: &$0) }
        let splitAfter = fields.duration("split_after", in: Configuration.splitBounds)
        guard let name, let source else { return nil }
        let stream = StreamConfiguration(
            name: name,
            title: title,
            source: source,
            record: record,
            broadcaster: broadcaster,
            retention: retention,
            splitAfter: splitAfter
        )
        if splitAfter != nil, !stream.canBeSplit {
            fields.report("split_after", "must not stand beside a command's container \"mp4\"")
        }
        return stream
    }

    /// Whether the recorder knows places where the media can be cut into two playable parts.
    var canBeSplit: Bool {
        switch source {
        case .hls: true
        case .command(_, let container): container == .mpegTS
        }
    }

    /// A stream with a broadcaster is switched by Twitch, so it cannot be recorded always.
    private static func readPolicy(
        _ fields: inout ConfigurationFields,
        hasBroadcaster: Bool
    ) -> RecordPolicy {
        let standard: RecordPolicy = hasBroadcaster ? .onDemand : .always
        guard let text = fields.text("record") else { return standard }
        guard let policy = RecordPolicy(rawValue: text) else {
            fields.report("record", "must be \"always\" or \"on_demand\", not \"\(text)\"")
            return standard
        }
        if hasBroadcaster, policy == .always {
            fields.report("record", "must be \"on_demand\" for a stream that Twitch switches")
        }
        return policy
    }

    private static func readName(
        _ fields: inout ConfigurationFields,
        pathsByName: inout [String: String]
    ) -> String? {
        guard let name = fields.text("name", isRequired: true) else { return nil }
        guard ConfigurationRules.isName(name) else {
            fields.report("name", ConfigurationRules.nameRule)
            return nil
        }
        if let first = pathsByName[name] {
            fields.report("name", "duplicate of \(first).name \"\(name)\"")
            return nil
        }
        pathsByName[name] = fields.path
        return name
    }

    private static func readSource(_ fields: inout ConfigurationFields) -> Source? {
        switch fields.text("type", isRequired: true) {
        case "hls": return readHLS(&fields)
        case "command": return readCommand(&fields)
        case .some(let type):
            fields.report("type", "must be \"hls\" or \"command\", not \"\(type)\"")
        case nil: break
        }
        fields.ignoreRest()  // Which fields belong here depends on the type.
        return nil
    }

    private static func readHLS(_ fields: inout ConfigurationFields) -> Source? {
        let url = fields.url("url", isRequired: true)
        var (quality, start): (Quality?, StartPoint?) = (.best, .start)
        if let text = fields.text("quality") {
            quality = Quality(text: text)
            if quality == nil {
                let rule = "must be \"best\", \"worst\", a height such as \"720p\""
                fields.report("quality", rule + " or a bandwidth such as \"2500k\" or \"6M\"")
            }
        }
        if let text = fields.text("from") {
            start = StartPoint(rawValue: text)
            let known = StartPoint.allCases.map { "\"\($0.rawValue)\"" }
            if start == nil { fields.report("from", "must be \(known.joined(separator: " or "))") }
        }
        guard let url, let quality, let start else { return nil }
        return .hls(url: url, quality: quality, from: start)
    }

    private static func readCommand(_ fields: inout ConfigurationFields) -> Source? {
        var container: MediaContainer? = .mpegTS
        if let text = fields.text("container") {
            container = MediaContainer(rawValue: text)
            let known = MediaContainer.allCases.map { "\"\($0.rawValue)\"" }
            if container == nil {
                fields.report("container", "must be \(known.joined(separator: " or "))")
            }
        }
        guard let items = fields.items("argv", isRequired: true) else { return nil }
        guard let first = items.first else {
            fields.report("argv", "must not be empty")
            return nil
        }
        // Arguments after the program may be empty, as on a shell's command line.
        let rest = items.dropFirst().compactMap { fields.argument($0.value, at: $0.path) }
        guard let program = fields.text(first.value, at: first.path), let container else {
            return nil
        }
        return .command(argv: [program] + rest, container: container)
    }
}

extension TwitchBroadcaster {
    /// Reads `twitch_login` and `broadcaster_id` of a stream; `nil` if it has neither.
    init?(reading fields: inout ConfigurationFields) {
        let login = fields.text("twitch_login")?.lowercased()
        let id = fields.text("broadcaster_id")
        if let login, !(1...25).contains(login.utf8.count) || !login.utf8.allSatisfy(Self.isInLogin)
        {
            fields.report("twitch_login", "must be of letters, digits and underscores, at most 25")
        }
        if let id, id.utf8.count > 20 || !id.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            fields.report("broadcaster_id", "must be of digits, at most 20")
        }
        guard login != nil || id != nil else { return nil }
        self.init(id: id, login: login)
    }

    private static func isInLogin(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x61...0x7A, 0x5F: true
        default: false
        }
    }
}
