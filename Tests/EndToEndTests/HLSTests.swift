import Foundation
import Testing

@Suite("HLS from an origin that misbehaves, in every form", .serialized)
struct HLSTests {
    private let bench: Workbench
    private let origin: String

    /// A stream of the origin: its form, what is wrong with it, and by which playlist it is asked for.
    private struct Case {
        let form: String
        let faults: String
        var playlist = "live.m3u8"

        var name: String { "\(form)-\(faults)" }
        var suffix: String { form == "fmp4" ? ".mp4" : ".ts" }
    }

    private static let cases = [
        Case(form: "ts", faults: "rough", playlist: "master.m3u8"),
        Case(form: "fmp4", faults: "rough"), Case(form: "aes", faults: "rough"),
        Case(form: "range", faults: "rough"), Case(form: "ts", faults: "gaps"),
        Case(form: "fmp4", faults: "gaps"), Case(form: "fmp4", faults: "break"),
        Case(form: "aes", faults: "break"), Case(form: "ts", faults: "reset"),
    ]

    init() throws {
        bench = try Workbench()
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../tools/hls_origin.py").standardizedFileURL
        let program = try bench.start(script.path, [bench.path("media")])
        origin = try program.line(containing: "http://")
    }

    @Test(
        "what can be had is in the files, byte for byte, once, in its order, and decodes; the rest is counted",
        .timeLimit(.minutes(10))
    )
    func misbehaving() throws {
        let exporter = try bench.startExporter()
        let streams = Self.cases.map {
            TestStream.hls($0.name, "\(origin)/\($0.form)/\($0.faults)/\($0.playlist)")
        }
        let recorder = try bench.startRecorder(streams)
        let expected = try Self.cases.map { try parts(of: $0) }
        let written = try eventually("the end of all streams", within: 100) {
            let files = try Self.cases.map { try bench.recordings(of: $0.name) }
            let counts = files.map { files in files.count { !$0.hasSuffix(".part") } }
            return counts == expected.map(\.count) && files.joined().count == counts.reduce(0, +)
                ? files : nil
        }
        for (stream, (files, expected)) in zip(Self.cases, zip(written, expected)) {
            for (file, bytes) in zip(files, expected) {
                #expect(file.hasSuffix(stream.suffix))
                let written = try Data(contentsOf: URL(fileURLWithPath: file))
                let isSame = stream.suffix == ".ts" ? unmarked(written) == bytes : written == bytes
                #expect(isSame, "\(stream.name): \(file)")
                try checkDecodes(file)
            }
        }
        let missed = #"streamvault_media_segments_total{recorder="cam",result="missed"}"#
        #expect(try exporter.metrics()[missed] == 8)
        #expect(try recorder.program.stop() == 0)
        #expect(!recorder.program.log.contains("token="))
    }

    /// What the files of a stream must hold.
    private func parts(of stream: Case) throws -> [Data] {
        try (0..<2).compactMap { part in
            let address = "\(origin)/\(stream.form)/\(stream.faults)/expected/\(part)"
            let file = bench.path("expected")
            let fetched = try bench.run("curl", ["-s", "-o", file, "-w", "%{http_code}", address])
            guard fetched.output == "200" else { return nil }
            return try Data(contentsOf: URL(fileURLWithPath: file))
        }
    }

    /// Without the packets that only say that something is missing before them.
    private func unmarked(_ stream: Data) -> Data {
        let packets = stride(from: 0, to: stream.count, by: 188).map { stream[$0..<$0 + 188] }
        return Data(
            packets.filter { packet in
                let bytes = Array(packet.prefix(6))
                return bytes[3] & 0x30 != 0x20 || bytes[5] & 0x80 == 0
            }.joined()
        )
    }

    private func checkDecodes(_ file: String) throws {
        let options = ["-v", "error", "-xerror", "-nostdin", "-i", file, "-f", "null", "-"]
        let decoded = try bench.run("ffmpeg", options)
        #expect(decoded.status == 0 && decoded.output.isEmpty, "\(file): \(decoded.output)")
        let stamps = try bench.run(
            "ffprobe",
            [
                "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts", "-of",
                "csv=p=0",
            ]
                + [file]
        ).output.split(separator: "\n")
        #expect(stamps.count % 25 == 0 && Set(stamps).count == stamps.count, "\(file)")
    }
}

extension Workbench {
    /// The files of a stream, those that are not finished too, in their order.
    fileprivate func recordings(of stream: String) throws -> [String] {
        try recordings("").filter { $0.contains("/\(stream)-2") }
    }
}
