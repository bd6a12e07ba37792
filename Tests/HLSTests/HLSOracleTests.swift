import Foundation
import Posix
import Testing

@testable import Fetch
@testable import HLS

@Suite("playlists, read by what others wrote", .timeLimit(.minutes(5)))
struct HLSOracleTests {
    // `standardizedFileURL` would follow the link out of the environment, whose packages are then not found.
    private static let python = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../.venv/bin/python").standardized.path

    /// Prints what the Python package `m3u8` makes of each playlist, one line for each segment or variant.
    private static let script = """
        import sys, m3u8
        for path in sys.argv[1:]:
            playlist = m3u8.load(path)
            playlist.base_uri = "https://h.test/live/"
            print("==", "master" if playlist.is_variant else "media", playlist.is_endlist)
            for variant in playlist.playlists:
                info = variant.stream_info
                height = info.resolution[1] if info.resolution else None
                print(variant.absolute_uri, info.bandwidth, height, info.codecs, info.audio)
            for number, segment in enumerate(playlist.segments):
                if not segment.uri:
                    continue  # Parts of low latency whose segment has not come.
                key = segment.key if segment.key and segment.key.method == "AES-128" else None
                init = segment.init_section
                print(
                    (playlist.media_sequence or 0) + number, segment.absolute_uri,
                    round(segment.duration * 1000), segment.byterange, segment.discontinuity,
                    bool(segment.gap_tag), key.absolute_uri if key else None, key.iv if key else None,
                    init.absolute_uri if init else None, init.byterange if init else None,
                )
        """

    @Test("the Python package m3u8 reads the same in the RFC's examples and in their like")
    func same() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "hls-\(UUID())")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let files = try HLSExamples.all.indices.map { index in
            let file = directory.appending(path: "\(index).m3u8")
            try Data(HLSExamples.all[index].utf8).write(to: file)
            return file.path
        }
        var program = try Subprocess.spawn([Self.python, "-c", Self.script] + files)
        let output = try program.output.readAll(atMost: 1 << 20)
        let errors = try program.errors.readAll(atMost: 1 << 20)
        #expect(program.wait() == .code(0), "\(String(decoding: errors ?? [], as: UTF8.self))")
        let theirs = String(decoding: output ?? [], as: UTF8.self).split(separator: "\n")
        let ours = try HLSExamples.all.flatMap(lines)
        #expect(theirs.count == ours.count)
        for (theirs, ours) in zip(theirs, ours) { #expect(theirs == ours) }
    }

    private func lines(of text: String) throws -> [String] {
        let base = try #require(URL(string: "https://h.test/live/index.m3u8"))
        switch try Playlist.parse(Array(text.utf8), from: base) {
        case .master(let playlist):
            return ["== master False"]
                + playlist.variants.map { variant in
                    let codecs = variant.codecs.joined(separator: ",")
                    let height = python(variant.height.map { "\($0)" })
                    let tail =
                        "\(python(codecs.isEmpty ? nil : codecs)) \(python(variant.audioGroup))"
                    return "\(variant.url.absoluteString) \(variant.bandwidth) \(height) \(tail)"
                }
        case .media(let playlist):
            return ["== media \(python(playlist.hasEnded))"] + playlist.segments.map(line)
        }
    }

    private func line(of segment: MediaSegment) -> String {
        let milliseconds = segment.duration.wholeNanoseconds / 1_000_000
        var vector: String?
        if case .given(let bytes)? = segment.key?.initializationVector {
            vector = "0x" + bytes.map { String(format: "%02x", $0) }.joined()
        }
        return [
            "\(segment.sequence)", segment.url.absoluteString, "\(milliseconds)",
            python(segment.range.map { "\($0.count)@\($0.offset)" }),
            python(segment.isDiscontinuous),
            python(segment.isGap), python(segment.key?.url.absoluteString), python(vector),
            python(segment.map?.address.url.absoluteString),
            python(segment.map?.range.map { "\($0.count)@\($0.offset)" }),
        ].joined(separator: " ")
    }

    private func python(_ text: String?) -> String { text ?? "None" }
    private func python(_ truth: Bool) -> String { truth ? "True" : "False" }
}

/// Playlists: first those of RFC 8216, section 8, then what else is met.
private enum HLSExamples {
    static let all = [
        // 8.1, 8.2, 8.3
        """
        #EXTM3U
        #EXT-X-TARGETDURATION:10
        #EXT-X-VERSION:3
        #EXTINF:9.009,
        http://media.example.com/first.ts
        #EXTINF:9.009,
        http://media.example.com/second.ts
        #EXTINF:3.003,
        http://media.example.com/third.ts
        #EXT-X-ENDLIST
        """.replacing("http://", with: "https://"),
        """
        #EXTM3U
        #EXT-X-VERSION:3
        #EXT-X-TARGETDURATION:8
        #EXT-X-MEDIA-SEQUENCE:2680

        #EXTINF:7.975,
        https://priv.example.com/fileSequence2680.ts
        #EXTINF:7.941,
        https://priv.example.com/fileSequence2681.ts
        #EXTINF:7.975,
        https://priv.example.com/fileSequence2682.ts
        """,
        """
        #EXTM3U
        #EXT-X-VERSION:3
        #EXT-X-MEDIA-SEQUENCE:7794
        #EXT-X-TARGETDURATION:15

        #EXT-X-KEY:METHOD=AES-128,URI="https://priv.example.com/key.php?r=52"

        #EXTINF:2.833,
        https://media.example.com/fileSequence52-A.ts
        #EXTINF:15.0,
        https://media.example.com/fileSequence52-B.ts
        #EXTINF:13.333,
        https://media.example.com/fileSequence52-C.ts

        #EXT-X-KEY:METHOD=AES-128,URI="https://priv.example.com/key.php?r=53"

        #EXTINF:15.0,
        https://media.example.com/fileSequence53-A.ts
        """,
        // 8.4, 8.5, 8.6
        """
        #EXTM3U
        #EXT-X-STREAM-INF:BANDWIDTH=1280000,AVERAGE-BANDWIDTH=1000000
        https://example.com/low.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=2560000,AVERAGE-BANDWIDTH=2000000
        https://example.com/mid.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=7680000,AVERAGE-BANDWIDTH=6000000
        https://example.com/hi.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=65000,CODECS="mp4a.40.5"
        https://example.com/audio-only.m3u8
        """,
        """
        #EXTM3U
        #EXT-X-STREAM-INF:BANDWIDTH=1280000
        low/audio-video.m3u8
        #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=86000,URI="low/iframe.m3u8"
        #EXT-X-STREAM-INF:BANDWIDTH=2560000
        mid/audio-video.m3u8
        #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=150000,URI="mid/iframe.m3u8"
        #EXT-X-STREAM-INF:BANDWIDTH=65000,CODECS="mp4a.40.5"
        audio-only.m3u8
        """,
        """
        #EXTM3U
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac",NAME="English",DEFAULT=YES,AUTOSELECT=YES,LANGUAGE="en",URI="main/english-audio.m3u8"
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac",NAME="Deutsch",DEFAULT=NO,AUTOSELECT=YES,LANGUAGE="de",URI="main/german-audio.m3u8"
        #EXT-X-STREAM-INF:BANDWIDTH=1280000,CODECS="avc1.4d401f,mp4a.40.2",AUDIO="aac"
        low/video-only.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=7680000,RESOLUTION=1920x1080,CODECS="avc1.640028,mp4a.40.2",AUDIO="aac"
        hi/video-only.m3u8
        """,
        // Fragmented MP4 in one file, as its packagers write it.
        """
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-TARGETDURATION:6
        #EXT-X-PLAYLIST-TYPE:VOD
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-MAP:URI="main.mp4",BYTERANGE="719@0"
        #EXTINF:6.00600,
        #EXT-X-BYTERANGE:1508000@719
        main.mp4
        #EXTINF:5.5,a title
        #EXT-X-BYTERANGE:1450@1508719
        main.mp4
        #EXT-X-ENDLIST
        """,
        // A stream with advertisements between, and a gap.
        """
        #EXTM3U
        #EXT-X-VERSION:8
        #EXT-X-TARGETDURATION:6
        #EXT-X-MEDIA-SEQUENCE:100
        #EXT-X-DISCONTINUITY-SEQUENCE:3
        #EXT-X-PROGRAM-DATE-TIME:2026-02-19T14:54:23.031+08:00
        #EXTINF:6,live
        a.ts?x=1&y=2
        #EXT-X-DISCONTINUITY
        #EXT-X-DATERANGE:ID="ad",CLASS="x",START-DATE="2026-02-19T14:54:29.031+08:00",DURATION=6.0
        #EXTINF:6,ad
        ../ads/b.ts
        #EXT-X-DISCONTINUITY
        #EXT-X-GAP
        #EXTINF:6,
        c.ts
        #EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x0123456789abcdef0123456789abcdef
        #EXTINF:6,
        d.ts
        #EXT-X-KEY:METHOD=NONE
        #EXTINF:6,
        /e.ts
        """,
        // Low latency.
        """
        #EXTM3U
        #EXT-X-TARGETDURATION:4
        #EXT-X-VERSION:6
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.0,CAN-SKIP-UNTIL=12.0
        #EXT-X-PART-INF:PART-TARGET=0.33334
        #EXT-X-MEDIA-SEQUENCE:266
        #EXT-X-PROGRAM-DATE-TIME:2019-02-14T02:13:36.106Z
        #EXT-X-MAP:URI="init.mp4"
        #EXTINF:4.00008,
        fileSequence266.mp4
        #EXT-X-PART:DURATION=0.33334,URI="filePart267.a.mp4"
        #EXT-X-PART:DURATION=0.33334,URI="filePart267.b.mp4",INDEPENDENT=YES
        #EXTINF:4.00008,
        fileSequence267.mp4
        #EXT-X-PART:DURATION=0.33334,URI="filePart268.a.mp4"
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI="filePart268.b.mp4"
        #EXT-X-RENDITION-REPORT:URI="../1M/waitForMSN.php",LAST-MSN=267,LAST-PART=1
        """,
    ]
}
