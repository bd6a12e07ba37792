import Foundation

/// A recorder, and its API on loopback.
struct Recorder {
    let program: Program
    let port: Int

    func active() throws -> String {
        try get("http://127.0.0.1:\(port)/api/recording/active").body
    }

    func health() throws -> (status: Int, body: String) {
        try get("http://127.0.0.1:\(port)/health")
    }

    /// Lines of the log that are no `key=value` fields.
    var announcements: [String] {
        program.log.split(separator: "\n").map(String.init).filter { !$0.hasPrefix("ts=") }
    }

    /// Seconds of each phase of the shutdown, as the log has them.
    var loggedPhases: [String: Double] {
        let lines = program.log.split(separator: "\n").filter {
            $0.contains("Shutdown phase ended")
        }
        let pairs = lines.compactMap { line -> (String, Double)? in
            let fields = Dictionary(
                line.split(separator: " ").compactMap { word -> (String, String)? in
                    let parts = word.split(separator: "=", maxSplits: 1)
                    return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
                },
                uniquingKeysWith: { first, _ in first }
            )
            guard let phase = fields["phase"], let seconds = fields["seconds"].flatMap(Double.init)
            else { return nil }
            return (phase, seconds)
        }
        return Dictionary(uniqueKeysWithValues: pairs)
    }
}

/// A stream of a test's configuration, as JSON.
enum TestStream {
    static func hls(_ name: String, _ url: String) -> String {
        #"{name: "\#(name)", source: {type: "hls", url: "\#(url)"}}"#
    }

    /// `fields` are further ones of the stream.
    static func command(_ name: String, _ arguments: [String], fields: String = "") -> String {
        let words = arguments.map { "\"\($0.replacing("\"", with: "\\\""))\"" }.joined(
            separator: ", "
        )
        let source = #"{type: "command", argv: [\#(words)]}"#
        return #"{name: "\#(name)", source: \#(source), \#(fields)}"#
    }

    /// A picture from ffmpeg, for as long as nobody ends it.
    static func picture(_ name: String, fields: String = "") -> String {
        let command =
            "ffmpeg -hide_banner -loglevel error -re -f lavfi -i testsrc2=size=160x90:rate=25"
            + " -c:v libx264 -preset ultrafast -threads 1 -g 25 -f mpegts -"
        let words = command.split(separator: " ").map(String.init)
        return self.command(name, words, fields: fields)
    }

    /// A program that writes `file` over and over, and heeds neither SIGINT nor SIGTERM.
    static func stubborn(_ name: String, file: String) -> String {
        command(name, ["sh", "-c", "trap '' INT TERM; while cat '\(file)'; do sleep 0.2; done"])
    }
}

extension Workbench {
    var recordingsDirectory: String { path("recordings") }

    /// Writes a configuration; its path.
    func configure(
        _ streams: [String],
        name: String = "cam",
        fields: String = ""
    ) throws -> String {
        let text = """
            {
              name: "\(name)", // a comment, as JSON5 has them
              recordings_dir: "\(recordingsDirectory)",
              telemetry_dir: "\(telemetryDirectory)",
              web: {listen_address: ["127.0.0.1:0"]},
              sync_interval: "500ms",
              streams: [\(streams.joined(separator: ",\n"))],
              \(fields)
            }
            """
        try text.write(toFile: path("recorder.json5"), atomically: true, encoding: .utf8)
        return path("recorder.json5")
    }

    func startRecorder(
        _ streams: [String],
        _ flags: [String] = [],
        isDeaf: Bool = false,
        fields: String = ""
    ) throws -> Recorder {
        _ = try makeDirectory("telemetry")
        let config = try configure(streams, fields: fields)
        let program = try start(
            "streamvault-recorder",
            ["--config", config] + flags,
            isDeaf: isDeaf
        )
        return Recorder(program: program, port: try listeningPort(of: program))
    }

    /// Names in the recordings directory that end so.
    func recordings(_ suffix: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: recordingsDirectory)
            .filter { $0.hasSuffix(suffix) }.sorted()
            .map { "\(recordingsDirectory)/\($0)" }
    }

    /// Seconds that a file plays; an error when ffmpeg finds anything wrong in it.
    func playedSeconds(_ file: String) throws -> Double {
        let decoded = try run("ffmpeg", ["-v", "error", "-i", file, "-f", "null", "-"])
        guard decoded.status == 0, decoded.output.isEmpty else {
            throw TimedOut(description: "\(file) does not decode: \(decoded.output)")
        }
        let arguments = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", file]
        let probed = try run("ffprobe", arguments).output
        return Double(probed.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0
    }
}
