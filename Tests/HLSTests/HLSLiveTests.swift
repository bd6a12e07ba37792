import Foundation
import Posix
import Synchronization
import TestSupport
import Testing

@testable import HLS
@testable import Media

@Suite("recording from a real encoder", .timeLimit(.minutes(5)))
struct HLSLiveTests {
    private let directory: URL
    private let lines = CollectedLines()
    private let stop: StopSignal

    init() throws {
        directory = FileManager.default.temporaryDirectory.appending(path: "hls-\(UUID())")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        stop = try StopSignal()
    }

    @Test("a live stream is recorded byte for byte, to its end, and decodes without an error")
    func toTheEnd() async throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        var encoder = try encode(seconds: 6)
        let server = try fileServer()
        let source = HLSStream(server.url("/live.m3u8"), log: lines.append)
        let outcome = await source.read(until: stop)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.missed == [])
        #expect(outcome.collected.bytes == (try segmentsOnDisk(".ts")))
        #expect(try complaintsOfDecoder(about: outcome.collected.bytes) == "")
        let status = encoder.wait()
        #expect(status == .code(0))
    }

    @Test("a live stream of fragmented MP4 likewise, its header first")
    func fragmented() async throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let encoder = try encode(seconds: 5, ["-hls_segment_type", "fmp4"])
        let server = try fileServer()
        let source = HLSStream(server.url("/live.m3u8"), log: lines.append)
        let outcome = await source.read(until: stop)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.missed == [])
        #expect(outcome.collected.parts.map(\.container) == [.fragmentedMP4])
        let header = Array(try Data(contentsOf: directory.appending(path: "init.mp4")))
        #expect(outcome.collected.bytes == header + (try segmentsOnDisk(".ts")))
        #expect(try complaintsOfDecoder(about: outcome.collected.bytes) == "")
        _ = encoder.hasExited()
    }

    @Test("a live stream that ffmpeg encrypts decodes without an error")
    func encrypted() async throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let key = directory.appending(path: "key")
        try Data("sixteen bytes ok".utf8).write(to: key)
        let information = directory.appending(path: "information")
        try Data("key\n\(key.path)\n".utf8).write(to: information)
        let encoder = try encode(seconds: 5, ["-hls_key_info_file", information.path])
        let server = try fileServer()
        let source = HLSStream(server.url("/live.m3u8"), log: lines.append)
        let outcome = await source.read(until: stop)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.missed == [])
        #expect(server.requests.count { $0 == "/key" } == 1)
        #expect(try complaintsOfDecoder(about: outcome.collected.bytes) == "")
        #expect(outcome.collected.bytes != (try segmentsOnDisk(".ts")))
        _ = encoder.hasExited()
    }

    @Test("a live stream stopped in its middle leaves what decodes without an error")
    func stopped() async throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let encoder = try encode(seconds: 600)
        let server = try fileServer()
        let source = HLSStream(server.url("/live.m3u8"), log: lines.append)
        let stop = stop
        let segments = Atomic(0)
        let outcome = await source.read(until: stop) { _ throws(SystemError) in
            if segments.add(1, ordering: .relaxed).newValue == 3 { stop.request() }
        }
        #expect(outcome.ending == .stopped)
        #expect(outcome.collected.segments == 3)
        #expect(try complaintsOfDecoder(about: outcome.collected.bytes) == "")
        let ended = encoder.hasExited()
        #expect(!ended)
    }

    /// Encodes a moving picture and a tone in real time, in segments of one second, a window of four.
    private func encode(seconds: Int, _ form: [String] = []) throws -> Subprocess {
        let input = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25"]
        let tone = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]
        let video = ["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-g", "25"]
        let audio = ["-c:a", "aac", "-b:a", "64k", "-t", "\(seconds)"]
        let output = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "4"]
        let names = [
            "-hls_flags", "temp_file+program_date_time", "-hls_segment_filename",
            directory.appending(path: "s%05d.ts").path, directory.appending(path: "live.m3u8").path,
        ]
        let head = ["ffmpeg", "-v", "error", "-nostdin", "-re"]
        return try Subprocess.spawn(
            head + input + ["-re"] + tone + video + audio + output + form + names
        )
    }

    private func fileServer() throws -> ScriptedServer {
        let directory = directory
        return try ScriptedServer { path, _ in
            let file = directory.appending(path: path)
            guard let body = try? Data(contentsOf: file) else { return .status(404) }
            return .init(body: Array(body))
        }
    }

    private func segmentsOnDisk(_ suffix: String) throws -> [UInt8] {
        let names = try FileSystem.entries(of: directory.path).filter { $0.hasSuffix(suffix) }
        return try names.flatMap { try Data(contentsOf: directory.appending(path: $0)) }
    }

    /// What `ffmpeg` says while it decodes all of `media`.
    private func complaintsOfDecoder(about media: [UInt8]) throws -> String {
        let file = directory.appending(path: "recording")
        try Data(media).write(to: file)
        let options = ["-v", "error", "-xerror", "-nostdin", "-i", file.path, "-f", "null", "-"]
        var decoder = try Subprocess.spawn(["ffmpeg"] + options)
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = try buffer.withUnsafeMutableBytes { try decoder.errors.read(into: $0) }
            if count == 0 { break }
            text += buffer[..<count]
        }
        let status = decoder.wait()
        #expect(status == .code(0))
        return String(decoding: text, as: UTF8.self)
    }
}
