import Posix
import Testing

@testable import Recorder

@Suite("Configuration of storage")
struct StorageConfigurationTests {
    private func check(_ fields: String) throws(ConfigurationError) -> Configuration {
        let text = "{recordings_dir: \"/r\", \(fields)}"
        guard let file = try? json5(text) else {
            throw ConfigurationError(lines: [text])
        }
        return try Configuration.check(file, arguments: Arguments(configPath: "x"))
    }

    @Test(
        "a size is a number with a unit",
        arguments: [
            ("0B", 0), ("500MiB", 500 << 20), ("1.5GB", 1_500_000_000), ("1KiB", 1024),
            ("2TiB", 2 << 40), ("3kB", 3000), ("1024TiB", 1 << 50), ("1025TiB", nil), ("", nil),
            ("5", nil), ("GiB", nil), ("-1B", nil), ("1e3B", nil), ("1.B", nil), (".5GB", nil),
            ("1 GiB", nil), ("1gib", nil), ("1.2.3B", nil), ("infB", nil), ("nanB", nil),
        ] as [(String, UInt64?)]
    )
    func byteCount(_ text: String, _ expected: UInt64?) {
        #expect(ByteCountText.parse(text) == expected)
    }

    @Test(
        "contradicting or unusable values are errors",
        arguments: [
            (
                #"disk: {warn_below: "1GiB", refuse_below: "5GiB"}, streams: []"#,
                "disk.warn_below: must not be less than refuse_below"
            ),
            (
                #"streams: [{name: "a", source: {type: "hls", url: "http://x:99999/"}}]"#,
                "streams[0].source.url: the port must be from 1 to 65535, not 99999"
            ),
            (
                #"web: {listen_address: "localhost:1"}, streams: []"#,
                #"web.listen_address: "localhost" is a host name: write an IP address, or :PORT for all"#
            ),
        ]
    )
    func contradictions(_ fields: String, _ line: String) throws {
        let error = try #require(throws: ConfigurationError.self) { try check(fields) }
        #expect(error.lines == [line])
    }

    @Test("all fields are read")
    func whole() throws {
        let configuration = try check(
            """
            resume_within: "5m", disk: {warn_below: "3GiB", refuse_below: "1GiB", reserve: "1MiB"},
            retention: {max_age: "720h", max_count: 9, max_size: "1TB"},
            remux: {to: "mp4", delete_source: true},
            streams: [{name: "a", source: {type: "command", argv: ["x"]}, retention: {max_count: 2}}]
            """
        )
        #expect(configuration.resumeWindow == .seconds(300))
        #expect(
            configuration.disk
                == DiskSettings(warnBelow: 3 << 30, refuseBelow: 1 << 30, reserve: 1 << 20)
        )
        #expect(
            configuration.retention.overall
                == RetentionRules(
                    maxAge: .seconds(720 * 3600),
                    maxCount: 9,
                    maxBytes: 1_000_000_000_000
                )
        )
        #expect(configuration.retention.byStream == ["a": RetentionRules(maxCount: 2)])
        #expect(configuration.remux?.deletesSource == true)
    }

    @Test("a stream's split time overrides the general one; streams that cannot be split have none")
    func splits() throws {
        let streams = """
            streams: [
                {name: "a", source: {type: "hls", url: "http://h"}},
                {name: "b", split_after: "168h", source: {type: "command", argv: ["x"]}},
                {name: "c", source: {type: "command", argv: ["x"], container: "mp4"}},
            ]
            """
        let split = try check("split_after: \"1h\", \(streams)").streams.map(\.splitAfter)
        #expect(split == [.seconds(3600), .seconds(168 * 3600), nil])
        let alone = try check(streams).streams.map(\.splitAfter)
        #expect(alone == [nil, .seconds(168 * 3600), nil])
    }

    @Test(
        "an error of a stream is reported with its path",
        arguments: [
            ("\"5s\"", "ts", "must be between 10s and 168h, not 5s"),
            ("\"1h\"", "mp4", "must not stand beside a command's container \"mp4\""),
        ]
    )
    func splitMistake(_ value: String, _ container: String, _ problem: String) {
        let source = "{type: \"command\", argv: [\"x\"], container: \"\(container)\"}"
        #expect(throws: ConfigurationError(lines: ["streams[0].split_after: \(problem)"])) {
            try check("streams: [{name: \"a\", split_after: \(value), source: \(source)}]")
        }
    }

    @Test("by default nothing is removed or converted")
    func defaults() throws {
        let configuration = try check("streams: []")
        #expect(configuration.retention.isEmpty && configuration.remux == nil)
        #expect(configuration.resumeWindow == .seconds(600))
    }

    @Test(
        "an error is reported with its path",
        arguments: [
            ("disk: {reserve: 5}", "disk.reserve"), ("disk: {reserve: \"5\"}", "disk.reserve"),
            ("retention: {max_count: 0}", "retention.max_count"),
            ("retention: {max_count: 1.5}", "retention.max_count"),
            ("retention: {max_age: \"0s\"}", "retention.max_age"),
            ("retention: {keep: 1}", "retention.keep"), ("remux: {}", "remux.to"),
            ("remux: {to: \"mkv\"}", "remux.to"),
            ("remux: {to: \"mp4\", delete_source: 1}", "remux.delete_source"),
            ("resume_within: \"2000h\"", "resume_within"),
            ("split_after: \"9s\"", "split_after"), ("split_after: 3600", "split_after"),
            ("split_after: \"169h\"", "split_after"), ("split_after: \"1 h\"", "split_after"),
        ]
    )
    func mistake(_ fields: String, _ path: String) {
        let error = #expect(throws: ConfigurationError.self) {
            try check("\(fields), streams: []")
        }
        #expect(error?.lines.count == 1)
        #expect(error?.lines.first?.hasPrefix("\(path):") == true, "\(error?.lines ?? [])")
    }
}
