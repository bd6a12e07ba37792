import FoundationEssentials
import HLS
import Media

extension StreamConfiguration {
    /// Takes `streams`; a stream with a mistake is reported and left out.
    static func readAll(from fields: inout ConfigurationFields) -> [StreamConfiguration] {
        guard let items = fields.items("streams", isRequired: true) else { return [] }
        guard items.count <= Configuration.mostStreams else {
            fields.report("streams", "at most \(Configuration.mostStreams), not \(items.count)")
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

    /// Whether there are places in the media from which it plays by itself, and which are known.
    var canBeSplit: Bool {
        switch source {
        case .hls: true
        case .command(_, let container): container == .mpegTS
        }
    }

    /// A stream with a broadcaster is switched by Twitch, and so cannot be always on.
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
        // Arguments behind the program may be empty, as on a shell's command line.
        let rest = items.dropFirst().compactMap { fields.argument($0.value, at: $0.path) }
        guard let program = fields.text(first.value, at: first.path), let container else {
            return nil
        }
        return .command(argv: [program] + rest, container: container)
    }
}
