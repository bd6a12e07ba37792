import Foundation
import Posix
import Testing
import Twitch

@testable import Fetch
@testable import Recorder

@Suite("Configuration of Twitch and the API")
struct ConfigurationTwitchTests {
    private func check(_ text: String) throws -> Configuration {
        try Configuration.check(
            try json5(text),
            arguments: Arguments(configPath: "x")
        )
    }

    private func mistakes(in text: String) throws -> [String] {
        let error = try #require(throws: ConfigurationError.self) { try check(text) }
        return error.lines
    }

    private func stream(_ fields: String) -> String {
        "{name: 'a', source: {type: 'command', argv: ['x']}\(fields)}"
    }

    @Test("a full file")
    func full() throws {
        let configuration = try check(
            """
            {
                recordings_dir: 'r', web: {bearer_token_file: '/t', allowed_origins: ['https://a.example']},
                twitch: {
                    eventsub_secret_file: '/e', client_id: 'c', client_secret_file: '/s',
                    callback_url: 'https://cam.example/eventsub', api_url: 'http://127.0.0.1:1/helix',
                    auth_url: 'http://127.0.0.1:1/token',
                },
                streams: [\(stream(", twitch_login: 'Cool_User', broadcaster_id: '1337'"))],
            }
            """
        )
        #expect(configuration.bearerTokenFile == "/t")
        #expect(configuration.allowedOrigins == ["https://a.example"])
        var twitch = TwitchSettings()
        twitch.eventSubSecretFile = "/e"
        twitch.application = TwitchSettings.Application(
            clientID: "c",
            clientSecretFile: "/s",
            callback: try #require(URL(string: "https://cam.example/eventsub")),
            api: try #require(URL(string: "http://127.0.0.1:1/helix")),
            auth: try #require(URL(string: "http://127.0.0.1:1/token"))
        )
        #expect(configuration.twitch == twitch)
        #expect(configuration.streams[0].record == .onDemand)
        #expect(
            configuration.streams[0].broadcaster
                == TwitchBroadcaster(id: "1337", login: "cool_user")
        )
    }

    @Test(
        "few fields are required: Twitch's addresses are defaults, and another program may make the subscriptions"
    )
    func defaults() throws {
        let webhook = try check("{recordings_dir: 'r', streams: [], twitch: {}}")
        #expect(webhook.twitch == TwitchSettings())
        let fields = "client_id: 'c', callback_url: 'https://cam.example/e'"
        let twitch = try check("{recordings_dir: 'r', streams: [], twitch: {\(fields)}}").twitch
        #expect(twitch?.application?.api.absoluteString == "https://api.twitch.tv/helix")
        #expect(twitch?.application?.auth.absoluteString == "https://id.twitch.tv/oauth2/token")
        let always = try check("{recordings_dir: 'r', streams: [\(stream(""))]}")
        #expect(always.streams[0].record == .always)
        #expect(always.twitch == nil && always.bearerTokenFile == nil)
    }

    @Test(
        "each error names its field",
        arguments: [
            (
                ", record: 'sometimes'",
                "streams[0].record: must be \"always\" or \"on_demand\", not \"sometimes\""
            ),
            (
                ", record: 'always', broadcaster_id: '1'",
                "streams[0].record: must be \"on_demand\" for a stream that Twitch switches"
            ),
            (
                ", broadcaster_id: '13x'",
                "streams[0].broadcaster_id: must be of digits, at most 20"
            ),
            (
                ", twitch_login: 'a b'",
                "streams[0].twitch_login: must be of letters, digits and underscores, at most 25"
            ),
            (", broadcaster_id: 1337", "streams[0].broadcaster_id: must be a string, not a number"),
        ] as [(String, String)]
    )
    func streamMistakes(_ fields: String, _ line: String) throws {
        let text = "{recordings_dir: 'r', twitch: {}, streams: [\(stream(fields))]}"
        #expect(try mistakes(in: text) == [line])
    }

    @Test(
        "errors of the Twitch object are reported too",
        arguments: [
            ("client_id: 'c'", ["twitch.callback_url: is required"]),
            ("callback_url: 'https://a/b'", ["twitch.client_id: is required"]),
            (
                "client_secret_file: '/s'",
                ["twitch.client_id: is required", "twitch.callback_url: is required"]
            ),
            (
                "client_id: 'c', callback_url: 'http://a/b'",
                ["twitch.callback_url: must be an https URL"]
            ),
            ("api_url: 'ftp://a'", ["twitch.api_url: must be an http or https URL"]),
            ("secret: 'x'", ["twitch.secret: unknown field"]),
        ] as [(String, [String])]
    )
    func twitchMistakes(_ fields: String, _ lines: [String]) throws {
        let text = "{recordings_dir: 'r', twitch: {\(fields)}, streams: []}"
        #expect(try mistakes(in: text) == lines)
    }

    @Test(
        "an origin has the form that browsers send",
        arguments: [
            ("https://a.example", true), ("http://a.example:8080", true), ("http://[::1]:1", true),
            ("https://a.example/", false), ("a.example", false), ("https://A.example", false),
            ("*", false), ("https://", false), ("https://u@a.example", false),
        ]
    )
    func origins(_ origin: String, _ isGood: Bool) throws {
        let text = "{recordings_dir: 'r', web: {allowed_origins: '\(origin)'}, streams: []}"
        #expect((try? check(text))?.allowedOrigins == (isGood ? [origin] : nil))
    }

    @Test("a stream with a broadcaster needs Twitch")
    func noTwitch() throws {
        let text = "{recordings_dir: 'r', streams: [\(stream(", broadcaster_id: '1'"))]}"
        #expect(
            try mistakes(in: text) == [
                "twitch: is required for stream \"a\", which Twitch switches"
            ]
        )
    }

    @Test("secrets are read from a file or else from the environment, and are never printed")
    func secrets() throws {
        let directory = FilesDirectory()
        let good = try directory.write("of-a-file \r\n", to: "good")
        let large = try directory.write(String(repeating: "x", count: 5000), to: "large")
        let blank = try directory.write("two words", to: "blank")
        let empty = try directory.write("\n", to: "empty")
        let logPath = directory.path + "/log"
        let log = Log(file: try FileDescriptor(opening: logPath, O_WRONLY | O_CREAT))
        func load(_ path: String?, _ environment: [String: String]) throws -> String? {
            let source = SecretSource(field: "f", path: path, variable: "V")
            return try source.load(environment, log)?.text
        }
        func warnings() throws -> Int {
            try String(contentsOfFile: logPath, encoding: .utf8).split(separator: "\n")
                .count { $0.contains("readable by all users") && $0.contains("field=f") }
        }
        #expect(try load(good, ["V": "of-the-environment"]) == "of-a-file")
        let shared = try warnings()
        #expect(chmod(good, 0o640) == 0)
        #expect(try load(good, [:]) == "of-a-file")
        #expect(try warnings() == shared, "for the owner and the group")
        #expect(chmod(good, 0o644) == 0)
        #expect(try load(good, [:]) == "of-a-file")
        #expect(try warnings() == shared + 1)
        #expect(try load(nil, ["V": "of-the-environment"]) == "of-the-environment")
        #expect(try load(nil, [:]) == nil && load(nil, ["V": ""]) == nil)
        for (path, words) in [
            (large, "longer than 4096 bytes"), (blank, "visible ASCII"), (empty, "visible ASCII"),
            (directory.path + "/none", "No such file"), (directory.path, "Is a directory"),
        ] {
            let error = try #require(throws: StartError.self) { try load(path, [:]) }
            #expect(error.description.hasPrefix("f: "))
            #expect(error.description.contains(words), "\(error)")
            #expect(!error.description.contains("two words"))
        }
    }
}
