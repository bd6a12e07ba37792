import Foundation
import Testing

/// Streams that never end, in recordings that do.
@Suite("A stream in recordings of a length", .serialized)
struct SplitTests {
    private let bench: Workbench

    init() throws { bench = try Workbench() }

    /// A picture and a tone, for ever; what the recorder gets stands in `copy`, too.
    private func camera(_ name: String, copy: String) -> String {
        let command =
            "ffmpeg -hide_banner -loglevel quiet -nostdin"
            + " -re -f lavfi -i testsrc2=size=160x90:rate=25"
            + " -re -f lavfi -i sine=frequency=440:sample_rate=48000"
            + " -c:v libx264 -preset ultrafast -threads 1 -g 25 -c:a aac -f mpegts - | tee '\(copy)'"
        return TestStream.command(name, ["sh", "-c", command])
    }

    @Test(
        "each file plays by itself, no packet is lost or doubled; a drain ends at the split, retention follows",
        .timeLimit(.minutes(10))
    )
    func split() throws {
        let exporter = try bench.startExporter()
        let streams = [
            TestStream.hls("packets", try bench.startLiveStream()),
            TestStream.hls("fragments", try bench.startLiveStream("fmp4")),
            camera("camera", copy: bench.path("copy")),
        ]
        let recorder = try bench.startRecorder(streams, fields: #"split_after: "10s""#)
        let completed = #"streamvault_recordings_finished_total{recorder="cam",result="completed"}"#
        try eventually("the first split of each", within: 100) {
            try exporter.metrics()[completed] == 3 ? () : nil
        }
        recorder.program.signal(SIGUSR1)
        #expect(try recorder.program.exitStatus(within: 100) == 0, "\(recorder.program.log)")
        #expect(try exporter.metrics()[completed] == 6)
        #expect(
            try exporter.metrics()[#"streamvault_recordings_started_total{recorder="cam"}"#] == 6
        )

        for stream in ["packets", "fragments", "camera"] {
            let files = try bench.recordings("").filter { $0.contains("/\(stream)-") }
            try #require(files.count == 2, "\(files)")
            let seconds = try files.map(bench.playedSeconds)
            #expect(seconds.allSatisfy { $0 >= 9 }, "\(files): \(seconds)")
            for (kind, step) in [("v", 0.04), ("a", 1024.0 / 48000)] {
                let stamps = try files.flatMap { try bench.stamps(of: kind, in: $0) }.sorted()
                let steps = zip(stamps, stamps.dropFirst()).map { $1 - $0 }
                #expect(steps.allSatisfy { abs($0 - step) < 0.001 }, "\(stream) \(kind)")
            }
        }
        try checkBytes(try bench.recordings(".ts").filter { $0.contains("/camera-") })
        try checkRetention()
    }

    /// The files hold what the program wrote, and the second its tables once more.
    private func checkBytes(_ files: [String]) throws {
        let media = try files.map { Array(try Data(contentsOf: URL(fileURLWithPath: $0))) }
        let sent = Array(try Data(contentsOf: URL(fileURLWithPath: bench.path("copy"))))
        let tables = 2 * 188
        let joined = media[0] + media[1].dropFirst(tables)
        #expect(sent.starts(with: joined))
        let repeated = stride(from: 0, to: media[0].count, by: 188).map { media[0][$0..<$0 + 188] }
        #expect(repeated.contains(media[1][..<188]) && repeated.contains(media[1][188..<tables]))
    }

    private func checkRetention() throws {
        let all = try bench.recordings("")
        let recorder = try bench.startRecorder([], fields: "retention: {max_count: 3}")
        let kept = try eventually("retention") {
            let files = try bench.recordings("").filter { !$0.contains("/catalogue") }
            return files.filter { !$0.contains("/.") }.count == 3 ? files : nil
        }
        for stream in ["packets", "fragments", "camera"] {
            let last = try #require(all.last { $0.contains("/\(stream)-") })
            #expect(kept.contains(last), "\(kept)")
        }
        #expect(try recorder.program.stop() == 0)
    }
}

extension Workbench {
    /// When each packet of the video or the audio is shown, in seconds.
    fileprivate func stamps(of kind: String, in file: String) throws -> [Double] {
        let arguments = [
            "-v", "error", "-select_streams", kind, "-show_entries", "packet=pts_time",
        ]
        let probed = try run("ffprobe", arguments + ["-of", "csv=p=0", file])
        return probed.output.split { "\n,".contains($0) }.compactMap { Double($0) }
    }
}
