import Foundation
import TestSupport
import Testing

@testable import Fetch
@testable import HLS
@testable import Media
@testable import Posix

@Suite("media playlists", .timeLimit(.minutes(5)))
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

    @Test("ranges follow each other in one resource, and begin where they say in another")
    func byteRanges() throws {
        let playlist = try parse(
            header + """
                #EXTINF:1,
                #EXT-X-BYTERANGE:100@50
                all.ts
                #EXT-X-BYTERANGE:10
                #EXTINF:1,
                all.ts
                #EXTINF:1,
                #EXT-X-BYTERANGE:7@0
                other.ts
                #EXTINF:1,
                other.ts
                """
        )
        #expect(playlist.segments.map { $0.range?.offset } == [50, 150, 0, nil])
        #expect(playlist.segments.map { $0.range?.count } == [100, 10, 7, nil])
    }

    @Test("a key stands until the next, a map as well, and the vector is given or the number")
    func keysAndMaps() throws {
        let playlist = try parse(
            header + """
                #EXT-X-MEDIA-SEQUENCE:258
                #EXTINF:1,
                a.ts
                #EXT-X-KEY:METHOD=AES-128,URI="k1"
                #EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="skd://x",KEYFORMAT="com.example"
                #EXTINF:1,
                b.ts
                #EXT-X-KEY:METHOD=AES-128,URI="/k2",IV=0X1F,KEYFORMAT="identity"
                #EXT-X-MAP:URI="init.mp4",BYTERANGE="600@10"
                #EXTINF:1,
                c.m4s
                #EXT-X-KEY:METHOD=NONE
                #EXTINF:1,
                d.m4s
                """
        )
        let keys = playlist.segments.map(\.key)
        let number = [UInt8](repeating: 0, count: 14)
        #expect(keys.map { $0?.url.path } == [nil, "/live/k1", "/k2", nil])
        let sequence = playlist.segments[1].sequence
        #expect(keys[1]?.vectorBytes == number + [UInt8(sequence >> 8), UInt8(sequence & 0xff)])
        #expect(keys[2]?.vectorBytes == number + [0, 0x1f])
        let maps = playlist.segments.map(\.map)
        #expect(
            maps.map { $0?.address.url.path } == [nil, nil, "/live/init.mp4", "/live/init.mp4"]
        )
        #expect(maps[3]?.range == ByteRange(offset: 10, count: 600))
        #expect(maps[3]?.key == keys[2], "a map keeps the key that stood when it came")
    }

    @Test("what only players with low latency need is passed over")
    func lowLatency() throws {
        let playlist = try parse(
            header + """
                #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.0,CAN-SKIP-UNTIL=12.0
                #EXT-X-PART-INF:PART-TARGET=0.33334
                #EXT-X-START:TIME-OFFSET=-4.5
                #EXT-X-MEDIA-SEQUENCE:266
                #EXTINF:4.00008,
                whole266.ts
                #EXT-X-PART:DURATION=0.33334,URI="whole267.0.ts"
                #EXT-X-PART:DURATION=0.33334,URI="whole267.1.ts",INDEPENDENT=YES
                #EXT-X-PRELOAD-HINT:TYPE=PART,URI="whole267.2.ts"
                #EXT-X-RENDITION-REPORT:URI="../1M/LL.php",LAST-MSN=267,LAST-PART=1
                """
        )
        #expect(playlist.segments.map(\.url.lastPathComponent) == ["whole266.ts"])
        #expect(playlist.startOffset == .milliseconds(-4500))
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
        #expect(try media(latin).segments.count == 1)
    }

    @Test(
        "what is no playlist is refused, with its line",
        arguments: [
            ("", 1, .notAPlaylist), ("<html>", 1, .notAPlaylist),
            ("\n#EXTINF:1,", 2, .notAPlaylist),
            (" #EXT-X-TARGETDURATION:1", 1, .notAPlaylist), ("#EXTM3U\nbroken", 0, .notAPlaylist),
        ] as [(String, Int, PlaylistError.Reason)]
    )
    func malformed(_ text: String, line: Int, reason: PlaylistError.Reason) {
        #expect(throws: PlaylistError(line: line, reason: reason)) { try parse(text) }
    }

    @Test(
        "what RFC 8216 does not allow is read as far as possible, and reported",
        arguments: [
            ("\u{feff}#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na", "a 0 1", .byteOrderMark),
            ("\n #EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na", "a 0 1", .blank),
            ("#EXTM3U\n#EXT-X-TARGETDURATION: 1\n #EXTINF : 1 , t\n a \n", "a 0 1", .blank),
            ("#EXTM3U\n#EXTINF:2,\na", "a 0 2", .targetDuration),
            ("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\na", "a 0 5", .targetDuration),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:-1\n#EXTINF:2,\na", "a 0 2", .targetDuration),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:nan,\na", "a 0 3", .duration),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:-1,\na", "a 0 3", .duration),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:1000001,\na", "a 0 3", .duration),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:,\na", "a 0 3", .duration),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:inf,\na", "a 0 3", .duration),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:3\n\na", "a 0 3", .duration),
            (
                "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-MEDIA-SEQUENCE:x\n#EXTINF:1,\na", "a 0 1",
                .sequence
            ),
            (
                "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-MEDIA-SEQUENCE:-7\n#EXTINF:1,\na",
                "a 0 1", .sequence
            ),
            (
                "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-MEDIA-SEQUENCE:18446744073709551616\n#EXTINF:1,\na",
                "a 0 1", .sequence
            ),
            (
                "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n#EXTINF:1,\na",
                "a 0 1", .sequence
            ),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-KEY:METHOD\n#EXTINF:1,\na", "a 0 1", .key),
            (
                "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-KEY:METHOD=AES-128\n#EXTINF:1,\na",
                "a 0 1", .key
            ),
            (
                "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0xg\n#EXTINF:1,\na",
                "a 0 1", .key
            ),
            (
                "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-MAP:BYTERANGE=\"1@0\"\n#EXTINF:1,\na",
                "a 0 1", .key
            ),
            (
                "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:1,\n#EXT-X-BYTERANGE:0@5\na", "a 0 1",
                .byteRange
            ),
            (
                "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:1,\n#EXT-X-BYTERANGE:1@9223372036854775807\na",
                "a 0 1", .byteRange
            ),
            (
                "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:5\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXTINF:1,\na",
                "a 8 1", .delta
            ),
            (
                "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na\n#EXT-X-STREAM-INF:BANDWIDTH=1\n",
                "a 0 1",
                .mixedKinds
            ),
            (
                "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-START:TIME-OFFSET=\"x\n#EXTINF:1,\na",
                "a 0 1",
                .attributes
            ),
        ] as [(String, String, PlaylistDeviation)]
    )
    func lenient(_ text: String, expected: String, deviation: PlaylistDeviation) throws {
        let playlist = try parse(text)
        let found = playlist.segments.map {
            "\($0.url.lastPathComponent) \($0.sequence) \($0.duration.components.seconds)"
        }
        #expect(found == [expected])
        #expect(playlist.deviations.contains(deviation))
        #expect(playlist.segments.first?.isUnreadable == (deviation == .byteRange))
    }

    @Test(
        "an address that may not be followed costs its segment only",
        arguments: [
            ("file:///etc/passwd", .scheme("file")), ("http://h.test/a.ts", .downgrade),
            ("https:///a.ts", .malformed),
        ] as [(String, URLPolicyError)]
    )
    func refusedAddress(_ address: String, error: URLPolicyError) throws {
        let playlist = try parse(header + "#EXTINF:1,\n\(address)\n#EXTINF:1,\nb.ts\n")
        #expect(throws: error) { try playlist.segments[0].address.resolved() }
        #expect(try playlist.segments[1].address.resolved().lastPathComponent == "b.ts")
    }

    @Test("a range without an offset begins at 0, or where that of the segment before ends")
    func rangesWithoutOffset() throws {
        let range = "#EXT-X-BYTERANGE:5\n#EXTINF:1,\na\n"
        let playlist = try parse(
            header + range + range + range.replacingOccurrences(of: "\na", with: "\nb")
        )
        #expect(playlist.segments.map { $0.range?.offset } == [0, 5, 0])
    }

    @Test("keys in the playlist itself, and a map whose key has no vector")
    func inlineKeys() throws {
        let keys = [
            "data:;base64,AAECAwQFBgcICQoLDA0ODw==",
            "data:text/plain;base64,AAECAwQFBgcICQoLDA0ODw%3D%3D",
            "data:,0123456789abcdef", "DATA:,%30123456789abcdef", "data:;base64,%%%", "data:x",
        ]
        let found = try keys.map { key in
            try parse(header + "#EXT-X-KEY:METHOD=AES-128,URI=\"\(key)\"\n#EXTINF:1,\na\n")
                .segments[0].key?.source
        }
        let (bytes, text) = ((0..<16).map { UInt8($0) }, Array("0123456789abcdef".utf8))
        #expect(found == [.inline(bytes), .inline(bytes), .inline(text), .inline(text), nil, nil])
        let map =
            "#EXT-X-MEDIA-SEQUENCE:258\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXT-X-MAP:URI=\"i\"\n"
        let playlist = try parse(header + map + "#EXTINF:1,\na\n#EXTINF:1,\nb\n")
        #expect(
            playlist.segments.map { $0.map?.key?.initializationVector } == [
                .number(258), .number(258),
            ]
        )
        #expect(
            playlist.segments.map { $0.key?.initializationVector } == [.number(258), .number(259)]
        )
    }

    @Test("variables: defined, of the address, imported, and undefined ones")
    func variables() throws {
        var master = PlaylistVariables()
        master.define(AttributeList("NAME=\"m\",VALUE=\"x y\""[...]), query: nil, imported: master)
        let text = """
            #EXTM3U
            #EXT-X-DEFINE:NAME="n",VALUE="v"
            #EXT-X-DEFINE:QUERYPARAM="q"
            #EXT-X-DEFINE:IMPORT="m"
            #EXTINF:1,
            {$n}/{$q}/{$m}/{$none}
            """
        let base = try #require(URL(string: "https://h.test/live.m3u8?a=1&q=2"))
        let playlist = try Playlist.parse(Array(text.utf8), from: base, importing: master)
        guard case .media(let media) = playlist else { return #expect(Bool(false)) }
        #expect(media.segments.first?.address.text == "v/2/x y/{$none}")
    }

    @Test(
        "what cannot be recorded is told by name",
        arguments: [
            ("#EXT-X-I-FRAMES-ONLY", .iFramesOnly),
            ("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\"\n#EXTINF:1,\na.ts", .encryption),
            ("#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI=\"k\"\n#EXTINF:1,\na.ts", .encryption),
            ("#EXT-X-KEY:METHOD=AES-128,URI=\"k\",KEYFORMAT=\"f\"\n#EXTINF:1,\na", .encryption),
        ] as [(String, UnsupportedFeature)]
    )
    func unsupported(_ lines: String, feature: UnsupportedFeature) {
        let line = 2 + lines.split(separator: "\n").count
        #expect(throws: PlaylistError(line: line, reason: .unsupported(feature))) {
            try parse("#EXTM3U\n\n\(lines)\n")
        }
    }

    @Test("size, number of segments and the sequence number are bounded")
    func bounds() throws {
        let limits = Playlist.Limits(bytes: 100, segments: 2)
        let two = header + "#EXTINF:1,\na\n#EXTINF:1,\nb\n"
        #expect(try media(Array(two.utf8), limits).segments.count == 2)
        #expect(throws: PlaylistError(line: 8, reason: .tooManySegments(limit: 2))) {
            try media(Array((two + "#EXTINF:1,\nc").utf8), limits)
        }
        #expect(throws: PlaylistError(line: 0, reason: .tooLarge(limit: 100))) {
            try media([UInt8](repeating: 10, count: 101), limits)
        }
    }

    @Test("a reference keeps what is written, and is checked and resolved as any address")
    func references() throws {
        let base = try #require(URL(string: "https://h.test/a/b/live.m3u8?token=x"))
        let document = PlaylistDocument(at: base)
        for text in [
            "s.ts", "/s.ts", "../s.ts", "//o.test/s.ts", "https://o.test/s.ts", "?x=1",
        ] {
            let expected = Result { () throws(URLPolicyError) in
                try URLPolicy.resolve(text, at: base)
            }
            let found = Result { () throws(URLPolicyError) in
                try MediaReference(text, in: document).resolved()
            }
            #expect(found == expected, "\(text)")
        }
        for (text, path) in [
            ("s:t", "/a/b/s:t"), ("a:b/c.ts", "/a/b/a:b/c.ts"), ("12:30.ts", "/a/b/12:30.ts"),
        ] {
            #expect(try MediaReference(text, in: document).resolved().path == path)
        }
        let long = String(repeating: "s", count: URLPolicy.maxBytes)
        #expect(throws: URLPolicyError.tooLong) {
            try MediaReference(long, in: document).resolved()
        }
        #expect(throws: URLPolicyError.tooLong) {
            try URLPolicy.check(base.appending(path: long), from: nil)
        }
    }

    @Test(
        "escapes in an address stay as they are, and what may not be in one is escaped",
        arguments: [
            ("%41 b.ts", "/a/%41%20b.ts"), ("a%2Fb c", "/a/a%2Fb%20c"), ("100%.ts", "/a/100%25.ts"),
            ("x[1]|{2}.ts", "/a/x%5B1%5D%7C%7B2%7D.ts"),
            ("n\u{e9}.ts?q=\u{e9}", "/a/n%C3%A9.ts?q=%C3%A9"),
            ("http://[::1]:80/b c[", "http://[::1]:80/b%20c%5B"),
            ("//[::1]/\"", "http://[::1]/%22"),
        ]
    )
    func escapes(reference: String, expected: String) throws {
        let base = try #require(URL(string: "http://h.test/a/live.m3u8"))
        let url = try URLPolicy.resolve(reference, at: base)
        #expect(url.absoluteString == (expected.hasPrefix("/") ? "http://h.test" : "") + expected)
    }

    @Test(
        "the path of a reference is that of its address, in whatever form it is written",
        arguments: [
            "s.ts?x=1", "/a/b/s.ts#y", "./s.ts", "../b/s.ts", "//o.test/a/b/s.ts",
            "https://h/a/b/s.ts",
        ]
    )
    func referencePaths(text: String) throws {
        let document = PlaylistDocument(
            at: try #require(URL(string: "https://h.test/a/b/live.m3u8"))
        )
        var hash = PathHash()
        MediaReference(text, in: document).addPath(to: &hash)
        #expect(hash == PathHash("/a/b/s.ts".utf8))
    }

    @Test("a stop breaks the reading off")
    func stopped() throws {
        let stop = try StopSignal()
        let text = header + String(repeating: "#EXTINF:1,\ns.ts\n", count: 500)
        let base = try base
        #expect(
            try Playlist.parse(Array(text.utf8), from: base, until: stop) != .media(MediaPlaylist())
        )
        stop.request()
        let error = try #require(throws: PlaylistError.self) {
            try Playlist.parse(Array(text.utf8), from: base, until: stop)
        }
        #expect(error.reason == .stopped)
    }

    @Test("random mutations give a playlist or an error, and never trap")
    func mutations() {
        var random = SeededGenerator(state: 20_260_219)
        let seed = Array((header + tags).utf8)
        var accepted = 0
        for _ in 0..<3000 {
            var bytes = seed
            for _ in 0..<Int.random(in: 1...6, using: &random) { mutate(&bytes, &random) }
            if (try? media(bytes)) != nil { accepted += 1 }
        }
        #expect(accepted > 100, "the mutations must not all die on the first line")
    }

    @Test(
        "attribute lists",
        arguments: [
            ("A=1", ["A": "1"], true),
            ("A=1,B=\"x,y=z\",C-2=0xFF", ["A": "1", "B": "x,y=z", "C-2": "0xFF"], true),
            ("A=", ["A": ""], true), ("A=1, B=2", ["A": "1", "B": "2"], false), ("A", [:], false),
            ("A=1,A=2", ["A": "1"], false), ("=1", [:], false), ("=1,B=2", ["B": "2"], false),
            ("A=\"open", ["A": "open"], false), ("A=\"x\"y,B=1", ["A": "x", "B": "1"], false),
            ("a=1", ["a": "1"], true),
            (" A = 1 , B = \"2\" ", ["A": "1", "B": "2"], false), (",,", [:], false),
            ("A,B=1", ["B": "1"], false),
        ] as [(String, [String: String], Bool)]
    )
    func attributes(of text: String, are expected: [String: String], complete: Bool) {
        let list = AttributeList(text[...])
        for name in ["A", "B", "C-2", "a"] { #expect(list[name] == expected[name]) }
        #expect(list.isComplete == complete)
    }

    @Test(
        "an address in a log has no query, user, or long name",
        arguments: [
            ("https://u:p@h.test:8443/a/b/live.m3u8?token=x#f", "https://h.test:8443/…/live.m3u8"),
            ("http://h.test", "http://h.test/…/"),
            ("http://[::1]:9000/a/x.m3u8", "http://[::1]:9000/…/x.m3u8"),
            ("http://h/\(String(repeating: "s", count: 50))", "http://h/…/ssssssssssss…"),
            (
                "http://\(String(repeating: "h", count: 60_000))/x",
                "http://\(String(repeating: "h", count: 189))…\(String(repeating: "h", count: 63))/…/x"
            ),
        ]
    )
    func addressForLog(_ address: String, _ expected: String) throws {
        #expect(try #require(URL(string: address)).redacted == expected)
    }

    private let header = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n"
    private let tags = """
        #EXT-X-MEDIA-SEQUENCE:18446744073709551610
        #EXT-X-KEY:METHOD=AES-128,URI="a,b",IV=0x0123
        #EXT-X-MAP:URI="i",BYTERANGE="5@6"
        #EXT-X-BYTERANGE:10@20
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
        try media(Array(text.utf8))
    }

    @discardableResult
    private func media(
        _ bytes: [UInt8],
        _ limits: Playlist.Limits = Playlist.Limits()
    ) throws -> MediaPlaylist {
        let playlist = try Playlist.parse(bytes, from: base, limits: limits)
        guard case .media(let media) = playlist else { throw NotOfSegments() }
        return media
    }

    private struct NotOfSegments: Error {}

    private func mutate(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
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
