import CommandLine
import Foundation
import JSON
import Posix
import Testing

@testable import Fetch
@testable import HLS
@testable import Media
@testable import Recorder

@Suite("Configuration")
struct ConfigurationTests {
    private func check(
        _ text: String,
        _ arguments: Arguments = Arguments(configPath: "x")
    ) throws -> Configuration {
        try Configuration.check(try json5(text), arguments: arguments)
    }

    private func mistakes(in text: String) throws -> [String] {
        let error = try #require(throws: ConfigurationError.self) { try check(text) }
        return error.lines
    }

    @Test("a small file has defaults for the rest; no stream is allowed")
    func defaults() throws {
        let configuration = try check("{recordings_dir: '/r', streams: []}")
        #expect(
            configuration
                == Configuration(
                    recorderName: "recorder",
                    recordingsDirectory: "/r",
                    telemetryDirectory: "/run/streamvault",
                    cataloguePath: "/r/catalogue.sqlite",
                    gracePeriod: .seconds(60),
                    listenAddresses: [":8000"],
                    logFile: nil,
                    syncInterval: .seconds(5),
                    streams: []
                )
        )
    }

    private let full = """
        {
            name: "north", recordings_dir: "/r", telemetry_dir: "/t", catalogue: "/c.sqlite",
            shutdown: { grace_period: "90s" }, web: { listen_address: [":1", "unix:/s"] },
            log: { file: "/l" }, sync_interval: "1.5s",
            streams: [
                { name: "cam-1", title: "Cam 1", source: { type: "hls", url: "HTTPS://h:1/a?b=c#d" } },
                { name: "b", source: { type: "command", argv: ["ffmpeg", "", "-"] } },
                { name: "c", source: { type: "command", argv: ["x"], container: "mp4" } },
                { name: "d", source: { type: "hls", url: "http://h", quality: "720p", from: "live" } },
            ],
        }
        """

    @Test("a full file")
    func fullFile() throws {
        let configuration = try check(full)
        #expect(configuration.recorderName == "north")
        #expect(configuration.telemetryDirectory == "/t")
        #expect(configuration.cataloguePath == "/c.sqlite")
        #expect(configuration.gracePeriod == .seconds(90))
        #expect(configuration.listenAddresses == [":1", "unix:/s"])
        #expect(configuration.logFile == "/l")
        #expect(configuration.syncInterval == .milliseconds(1500))
        #expect(
            configuration.streams == [
                StreamConfiguration(
                    name: "cam-1",
                    title: "Cam 1",
                    source: .hls(url: try #require(URL(string: "HTTPS://h:1/a?b=c#d")))
                ),
                StreamConfiguration(
                    name: "b",
                    title: nil,
                    source: .command(argv: ["ffmpeg", "", "-"], container: .mpegTS)
                ),
                StreamConfiguration(
                    name: "c",
                    title: nil,
                    source: .command(argv: ["x"], container: .fragmentedMP4)
                ),
                StreamConfiguration(
                    name: "d",
                    title: nil,
                    source: .hls(
                        url: try #require(URL(string: "http://h")),
                        quality: .height(720),
                        from: .live
                    )
                ),
            ]
        )
    }

    @Test("exceptions for private addresses, and programs without new privileges")
    func trust() throws {
        let text = """
            {recordings_dir: "/r", streams: [], network: {allow_private: ["10.0.0.0/8", "Media.LAN"]},
             programs: {no_new_privileges: true}}
            """
        let configuration = try check(text)
        #expect(configuration.addressExceptions.networks == [AddressNetwork("10.0.0.0/8")])
        #expect(configuration.addressExceptions.hosts == ["media.lan"])
        #expect(configuration.noNewPrivileges)
        let wrong = """
            {recordings_dir: "/r", streams: [], network: {allow_private: ["10.0.0.1/8", "x"], deny: 1},
             programs: {no_new_privileges: "yes"}}
            """
        #expect(
            try mistakes(in: wrong) == [
                "network.allow_private: \"10.0.0.1/8\" \(AddressExceptions.rule)",
                "network.deny: unknown field",
                "programs.no_new_privileges: must be true or false, not a string",
            ]
        )
    }

    @Test("the command line overrides the file")
    func overrides() throws {
        let arguments = Arguments(
            configPath: "x",
            gracePeriod: .seconds(10),
            listenAddresses: [":9"],
            telemetryDirectory: "/f",
            recorderName: "flag",
            logFile: "/g"
        )
        let configuration = try check(full, arguments)
        #expect(configuration.recorderName == "flag")
        #expect(configuration.gracePeriod == .seconds(10))
        #expect(configuration.listenAddresses == [":9"])
        #expect(configuration.telemetryDirectory == "/f")
        #expect(configuration.logFile == "/g")
        let badName = Arguments(configPath: "x", recorderName: "Bad")
        #expect(
            throws: ConfigurationError(lines: [
                "--recorder.name: \(ConfigurationRules.nameRule)"
            ])
        ) { try check(full, badName) }
    }

    @Test("all errors are reported at once, each with its path")
    func allAtOnce() throws {
        let lines = try mistakes(
            in: """
                {
                    name: "-x", sync_interval: "1m1s", shutdown: { grace_period: "2s" }, wob: {},
                    web: { listen_address: [] }, log: [], telemetry_dir: "",
                    "wob\\nx": 1,
                    streams: [
                        { name: "cam", sorce: {}, source: { type: "hls", url: "ftp://h/x" } },
                        { name: "cam", source: { type: "command", argv: [] } },
                        { name: "Cam", title: 5, source: { type: "dash", url: "x" } },
                        { source: { type: "command", argv: ["", 1], container: "mkv", url: "x" } },
                        { name: "d" }, 7, { name: "e", source: { type: "hls", quality: "hd", from: "" } },
                    ],
                }
                """
        )
        let rule = ConfigurationRules.nameRule
        #expect(
            lines == [
                "recordings_dir: is required",
                "telemetry_dir: must not be empty",
                "sync_interval: must be between 100ms and 60s, not 1m1s",
                "shutdown.grace_period: must be between 3s and 24h, not 2s",
                "web.listen_address: must not be empty",
                "log: must be an object, not an array",
                "streams[0].source.url: must be an http or https URL",
                "streams[0].sorce: unknown field",
                "streams[1].name: duplicate of streams[0].name \"cam\"",
                "streams[1].source.argv: must not be empty",
                "streams[2].name: \(rule)",
                "streams[2].title: must be a string, not a number",
                "streams[2].source.type: must be \"hls\" or \"command\", not \"dash\"",
                "streams[3].name: is required",
                "streams[3].source.container: must be \"ts\" or \"mp4\"",
                "streams[3].source.argv[1]: must be a string, not a number",
                "streams[3].source.argv[0]: must not be empty",
                "streams[3].source.url: unknown field",
                "streams[4].source: is required",
                "streams[5]: must be an object, not a number",
                "streams[6].source.url: is required",
                "streams[6].source.quality: must be \"best\", \"worst\", a height such as \"720p\""
                    + " or a bandwidth such as \"2500k\" or \"6M\"",
                "streams[6].source.from: must not be empty",
                "wob: unknown field", "wob\\u{A}x: unknown field",
                "name: \(rule)",
            ]
        )
    }

    @Test(
        "a URL must be http or https and have a host",
        arguments: [
            ("http://h", true), ("https://[::1]:80/x", true), ("http://h/%20", true),
            ("http://", false),
            ("http:///x", false), ("//h/x", false), ("h/x", false), ("file:///x", false),
            ("http://h/a b", false), ("http://a b/", false), ("javascript:1", false),
        ] as [(String, Bool)]
    )
    func url(_ url: String, isGood: Bool) {
        let text =
            "{recordings_dir: 'r', streams: [{name: 's', source: {type: 'hls', url: '\(url)'}}]}"
        let configuration = try? check(text)
        #expect((configuration != nil) == isGood)
    }

    @Test(
        "names consist of lower case letters, digits and inner dashes",
        arguments: [
            ("a", true), ("a-1", true), (String(repeating: "a", count: 63), true), ("", false),
            ("-a", false), ("a-", false), ("A", false), ("a_b", false), ("ä", false),
            ("a/b", false),
            (String(repeating: "a", count: 64), false),
        ] as [(String, Bool)]
    )
    func name(_ name: String, isGood: Bool) {
        #expect(ConfigurationRules.isName(name) == isGood)
    }

    @Test("a thousand streams are accepted, one more is an error")
    func manyStreams() throws {
        func text(_ count: Int) -> String {
            let streams = (0..<count).map { "{name:'s\($0)',source:{type:'hls',url:'http://h'}}" }
            return "{recordings_dir: 'r', streams: [\(streams.joined(separator: ","))]}"
        }
        #expect(try check(text(1000)).streams.count == 1000)
        #expect(try mistakes(in: text(1001)) == ["streams: at most 1000, not 1001"])
    }
}

@Suite("Configuration files")
struct ConfigurationFileTests {
    private let directory = FilesDirectory()

    private func lines(loading path: String) throws -> [String] {
        let arguments = Arguments(configPath: path)
        let error = try #require(throws: ConfigurationError.self) {
            try Configuration.load(arguments)
        }
        return error.lines
    }

    @Test("a valid file is loaded")
    func load() throws {
        let path = try directory.write("{recordings_dir: 'r', streams: []}", to: "c.json5")
        let configuration = try Configuration.load(Arguments(configPath: path))
        #expect(configuration.recordingsDirectory == "r")
    }

    @Test("an unusable file is reported in one line")
    func unusable() throws {
        let none = directory.path + "/none"
        #expect(try lines(loading: none) == ["\(none): cannot be read: No such file or directory"])
        #expect(
            try lines(loading: directory.path)
                == ["\(directory.path): cannot be read: Is a directory"]
        )
        let broken = try directory.write("{a: 1\n  b: 2}", to: "broken")
        #expect(try lines(loading: broken) == ["\(broken): line 2, column 3: expected ',' or '}'"])
        let large = try directory.write(String(repeating: " ", count: 1 << 20 + 1), to: "large")
        #expect(try lines(loading: large) == ["\(large): larger than 1048576 bytes"])
        #expect(try lines(loading: "/dev/zero") == ["/dev/zero: larger than 1048576 bytes"])
        let latin = directory.path + "/latin"
        try Data([0x7B, 0xE9, 0x7D]).write(to: URL(fileURLWithPath: latin))
        #expect(
            try lines(loading: latin) == ["\(latin): line 1, column 2: the text is not UTF-8"]
        )
        let list = try directory.write("[]", to: "list")
        #expect(try lines(loading: list) == ["the file: must be an object, not an array"])
    }

    @Test("the recorder's flags are parsed")
    func arguments() throws {
        let request = try Arguments.parse(
            ["--config=c", "--check-config", "--shutdown.grace-period", "3s"],
            environment: ["STREAMVAULT_LOG_FILE": "/l", "STREAMVAULT_RECORDER_NAME": "n"]
        )
        var expected = Arguments(configPath: "c", checksOnly: true, gracePeriod: .seconds(3))
        (expected.logFile, expected.recorderName) = ("/l", "n")
        #expect(request == .run(expected))
        #expect(throws: CommandLineError.self) {
            try Arguments.parse(["--config=c", "--shutdown.grace-period=2s"], environment: [:])
        }
    }

    @Test("the help lists every flag and variable")
    func help() throws {
        let request = try Arguments.parse(["--help"], environment: [:])
        guard case .help(let text) = request else { throw CommandLineError("no help") }
        for flag in Arguments.table.flags {
            #expect(text.contains("  --\(flag.name)"))
            #expect(text.contains("[\(flag.environmentName)]"))
        }
        #expect(text.contains("(default 60s; 3s to 24h)"))
    }
}

/// Reads a configuration's text.
func json5(_ text: String) throws(JSONError) -> JSONValue {
    let bytes = Array(text.utf8)
    return try JSONReader.read(bytes, as: .json5)
}
