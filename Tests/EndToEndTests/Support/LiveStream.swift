import Foundation

extension Workbench {
    /// Starts ffmpeg as a live HLS stream behind a web server, in segments of that type; the address of the playlist.
    func startLiveStream(_ type: String = "mpegts") throws -> String {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../../tools/live_hls.sh").standardizedFileURL
        let program = try start(script.path, [path("source-\(type)"), type])
        return try program.line(containing: "http://")
    }

    /// Makes a small transport stream; its path.
    func makeTransportStream() throws -> String {
        let file = path("sample.ts")
        let command =
            "-v error -f lavfi -i testsrc2=size=160x90:rate=25:duration=1 -c:v libx264"
            + " -preset ultrafast -threads 1 -f mpegts"
        let made = try run("ffmpeg", command.split(separator: " ").map(String.init) + [file])
        guard made.status == 0 else { throw TimedOut(description: made.output) }
        return file
    }
}
