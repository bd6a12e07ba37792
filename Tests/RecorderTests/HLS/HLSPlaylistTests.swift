import Foundation
import Testing

@testable import Recorder

@Suite("media playlists", .timeLimit(.minutes(1)))
struct HLSPlaylistTests {
    @Test("a live window: numbers, durations, absolute addresses")
    func liveWindow() throws {
        let playlist = try parse(
            """
            #EXTM3U
            #EXT-X-VERSION:3
            #EXT-X-TARGETDURATION:8
            #EXT-X-MEDIA-SEQUENCE:2680
            #EXT-X-DISCONTINUITY-SEQUENCE:4

            #EXTINF:7.975,
            part-2680.ts
            #EXTINF:7.941,the title, with a comma
            /abs/part-2681.ts?token=x
            #EXT-X-DISCONTINUITY
            #EXT-X-PROGRAM-DATE-TIME:2026-02-19T14:54:23.031+08:00
            #EXTINF:8
            https://other.test/part-2682.ts
            #EXT-X-GAP
            #EXTINF:8,
            part-2683.ts
            """
        )
        #expect(playlist.targetDuration == .seconds(8))
        #expect(playlist.discontinuitySequence == 4)
        #expect(!playlist.hasEnded)
        #expect(playlist.segments.map(\.sequence) == [2680, 2681, 2682, 2683])
        #expect(
            playlist.segments.map(\.url.absoluteString) == [
                "https://h.test/live/part-2680.ts", "https://h.test/abs/part-2681.ts?token=x",
                "https://other.test/part-2682.ts", "https://h.test/live/part-2683.ts",
            ]
        )
        #expect(playlist.segments[0].duration == .milliseconds(7975))
        #expect(playlist.segments[1].title == "the title, with a comma")
        #expect(playlist.segments.map(\.isDiscontinuous) == [false, false, true, false])
        #expect(playlist.segments.map(\.isGap) == [false, false, false, true])
        #expect(playlist.segments[2].programDateTime == "2026-02-19T14:54:23.031+08:00")
        #expect(playlist.segments[3].programDateTime == nil)
    }

    @Test("a finished playlist counts from 0")
    func finished() throws {
        let playlist = try parse(header + "#EXTINF:9.009,\na.ts\n#EXT-X-ENDLIST\n")
        #expect(playlist.hasEnded)
        #expect(playlist.segments.map(\.sequence) == [0])
    }

    @Test(
        "what is allowed is accepted",
        arguments: [
            "#EXTINF:1,\na.ts",  // No line feed at the end.
            "#EXTINF:1,\r\na.ts\r\n", "#EXTINF:1,  \na.ts  \n", "\n\n#EXTINF:1,\n\n# note\na.ts\n",
            "#EXT-X-UNKNOWN:\"x,y\n#EXTINF:1,\na.ts\n#EXT-X-PREFETCH:https://h/x.ts\n",
            "#EXT-X-KEY:METHOD=NONE\n#EXTINF:1,\na.ts\n", "#EXTINF:1,caf\u{e9}\na.ts\n",
        ]
    )
    func accepted(_ rest: String) throws {
        let playlist = try parse(header + rest)
        #expect(playlist.segments.map(\.url.absoluteString) == ["https://h.test/live/a.ts"])
    }

    @Test("carriage returns throughout, and a title that is not UTF-8")
    func bytes() throws {
        let crlf = (header + "#EXTINF:1,T\na.ts\n").replacingOccurrences(of: "\n", with: "\r\n")
        #expect(try parse(crlf).segments.first?.title == "T")
        let latin = Array((header + "#EXTINF:1,").utf8) + [0xe9] + Array("\na.ts\n".utf8)
        #expect(try PlaylistParser.parse(latin, from: base).segments.count == 1)
    }

    @Test(
        "what is malformed is refused, with its line",
        arguments: [
            ("", 1, .notAPlaylist), ("<html>", 1, .notAPlaylist), ("\n#EXTM3U", 1, .notAPlaylist),
            ("\u{feff}#EXTM3U", 1, .notAPlaylist), ("#EXTM3U8\n", 1, .notAPlaylist),
            ("#EXTM3U\n", 0, .targetDurationMissing),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:\n", 2, .badValue(tag: "EXT-X-TARGETDURATION")),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:-1\n", 2, .badValue(tag: "EXT-X-TARGETDURATION")),
            ("#EXTM3U\n#EXTINF:nan,\n", 2, .badValue(tag: "EXTINF")),
            ("#EXTM3U\n#EXTINF:1e9,\n", 2, .badValue(tag: "EXTINF")),
            ("#EXTM3U\n#EXTINF:1000001,\n", 2, .badValue(tag: "EXTINF")),
            ("#EXTM3U\n#EXTINF:,\n", 2, .badValue(tag: "EXTINF")),
            ("#EXTM3U\n\na.ts\n", 3, .durationMissing),
            ("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:x\n", 2, .badValue(tag: "EXT-X-MEDIA-SEQUENCE")),
            (
                "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:18446744073709551616\n", 2,
                .badValue(tag: "EXT-X-MEDIA-SEQUENCE")
            ), ("#EXTM3U\n#EXT-X-KEY:METHOD\n", 2, .badValue(tag: "EXT-X-KEY")),
            ("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 3, .addressRefused(.scheme("file"))),
            ("#EXTM3U\n#EXTINF:1,\nhttp://h.test/a.ts\n", 3, .addressRefused(.downgrade)),
            ("#EXTM3U\n#EXTINF:1,\nhttps:///a.ts\n", 3, .addressRefused(.malformed)),
        ] as [(String, Int, PlaylistError.Reason)]
    )
    func malformed(_ text: String, line: Int, reason: PlaylistError.Reason) {
        #expect(throws: PlaylistError(line: line, reason: reason)) { try parse(text) }
    }

    @Test(
        "what cannot be recorded yet is told by name",
        arguments: [
            ("#EXT-X-STREAM-INF:BANDWIDTH=1280000,CODECS=\"avc1,mp4a\"", .masterPlaylist),
            ("#EXT-X-MEDIA:TYPE=AUDIO", .masterPlaylist),
            ("#EXT-X-MAP:URI=\"init.mp4\"", .initializationSection),
            ("#EXT-X-BYTERANGE:75232@0", .byteRange), ("#EXT-X-I-FRAMES-ONLY", .iFramesOnly),
            ("#EXT-X-KEY:URI=\"a,METHOD=NONE\",METHOD=AES-128", .encryption),
            ("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\"", .encryption),
            ("#EXT-X-SKIP:SKIPPED-SEGMENTS=3", .deltaUpdate),
            ("#EXT-X-DEFINE:NAME=\"a\",VALUE=\"b\"", .variables),
        ] as [(String, UnsupportedFeature)]
    )
    func unsupported(_ line: String, feature: UnsupportedFeature) {
        #expect(throws: PlaylistError(line: 3, reason: .unsupported(feature))) {
            try parse("#EXTM3U\n\n\(line)\n")
        }
    }

    @Test("size, number of segments and the sequence number are bounded")
    func bounds() throws {
        let limits = PlaylistParser.Limits(bytes: 100, segments: 2)
        let two = header + "#EXTINF:1,\na\n#EXTINF:1,\nb\n"
        #expect(
            try PlaylistParser.parse(Array(two.utf8), from: base, limits: limits).segments.count
                == 2
        )
        #expect(throws: PlaylistError(line: 8, reason: .tooManySegments(limit: 2))) {
            try PlaylistParser.parse(
                Array((two + "#EXTINF:1,\nc").utf8),
                from: base,
                limits: limits
            )
        }
        #expect(throws: PlaylistError(line: 0, reason: .tooLarge(limit: 100))) {
            try PlaylistParser.parse([UInt8](repeating: 10, count: 101), from: base, limits: limits)
        }
        let last = header + "#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n#EXTINF:1,\na\n"
        #expect(throws: PlaylistError.self) { try parse(last) }
    }

    @Test("random mutations give a playlist or an error, and never trap")
    func mutations() {
        var random = SplitMix(state: 20_260_219)
        let seed = Array((header + tags).utf8)
        var accepted = 0
        for _ in 0..<3000 {
            var bytes = seed
            for _ in 0..<Int.random(in: 1...6, using: &random) { mutate(&bytes, &random) }
            if (try? PlaylistParser.parse(bytes, from: base)) != nil { accepted += 1 }
        }
        #expect(accepted > 100, "the mutations must not all die on the first line")
    }

    @Test(
        "attribute lists",
        arguments: [
            ("A=1", ["A": "1"]),
            ("A=1,B=\"x,y=z\",C-2=0xFF", ["A": "1", "B": "x,y=z", "C-2": "0xFF"]),
            ("A=", ["A": ""]), ("A=1, B=2", ["A": "1", "B": "2"]), ("A", nil), ("A=1,A=2", nil),
            ("=1", nil), ("A=\"open", nil), ("A=\"x\"y", nil), ("a=1", nil),
        ] as [(String, [String: String]?)]
    )
    func attributes(of text: String, are expected: [String: String]?) {
        let list = AttributeList(text[...])
        #expect((list == nil) == (expected == nil))
        for (name, value) in expected ?? [:] { #expect(list?[name] == value) }
    }

    @Test(
        "an address in a log has no query, user, or long name",
        arguments: [
            ("https://u:p@h.test:8443/a/b/live.m3u8?token=x#f", "https://h.test:8443/…/live.m3u8"),
            ("http://h.test", "http://h.test/…/"),
            ("http://h/\(String(repeating: "s", count: 50))", "http://h/…/ssssssssssss…"),
        ]
    )
    func addressForLog(_ address: String, _ expected: String) throws {
        #expect(try #require(URL(string: address)).forLog == expected)
    }

    private let header = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n"
    private let tags = """
        #EXT-X-MEDIA-SEQUENCE:18446744073709551610
        #EXT-X-KEY:METHOD=NONE,URI="a,b"
        #EXT-X-DISCONTINUITY
        #EXT-X-PROGRAM-DATE-TIME:2026-02-19T14:54:23.031Z
        #EXTINF:9.009,title
        ../a%20b.ts?x=1
        #EXT-X-GAP
        #EXTINF:10,
        https://h.test/b.ts
        #EXT-X-ENDLIST

        """

    private var base: URL {
        get throws { try #require(URL(string: "https://h.test/live/index.m3u8?token=abc")) }
    }

    @discardableResult
    private func parse(_ text: String) throws -> MediaPlaylist {
        try PlaylistParser.parse(Array(text.utf8), from: base)
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout SplitMix) {
        let place = Int.random(in: 8..<bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
        case 2: bytes.remove(at: place)
        default:
            let other = Int.random(in: 8..<bytes.count, using: &random)
            bytes.swapAt(place, other)
        }
    }
}

/// SplitMix64: the same numbers in every run.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
