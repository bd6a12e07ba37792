import Foundation
import Testing

@testable import Fetch
@testable import HLS
@testable import Media

@Suite("master playlists")
struct HLSMasterTests {
    @Test(
        "the variant of a quality",
        arguments: [
            ("best", "1080p60"), ("worst", "160p"), ("1080p", "1080p60"), ("1079p", "720p"),
            ("720p", "720p"), ("500p", "480p"), ("100p", "160p"), ("9000k", "1080p60"),
            ("6M", "1080p"), ("2500k", "720p"), ("2499k", "480p"), ("1k", "160p"),
        ]
    )
    func choice(_ quality: String, _ expected: String) throws {
        // In the order in which a service lists them, which is none.
        let master = try parse(
            """
            #EXTM3U
            #EXT-X-INDEPENDENT-SEGMENTS
            #EXT-X-SESSION-DATA:DATA-ID="x",VALUE="y"
            #EXT-X-STREAM-INF:BANDWIDTH=2500000,RESOLUTION=1280x720,CODECS="avc1.4d401f,mp4a.40.2"
            720p
            #EXT-X-STREAM-INF:BANDWIDTH=8000000,RESOLUTION=1920x1080,FRAME-RATE=60.000
            1080p60
            #EXT-X-STREAM-INF:BANDWIDTH=6000000,RESOLUTION=1920x1080,FRAME-RATE=30.000
            1080p
            #EXT-X-STREAM-INF:BANDWIDTH=8000000,RESOLUTION=1920x1080,FRAME-RATE=60.000
            backup-of-1080p60
            #EXT-X-STREAM-INF:BANDWIDTH=160000,CODECS="mp4a.40.2"
            audio
            #EXT-X-STREAM-INF:BANDWIDTH=300000,RESOLUTION=284x160
            160p
            #EXT-X-STREAM-INF:BANDWIDTH=1400000,RESOLUTION=852x480
            480p
            #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=90000,URI="iframes"
            """
        )
        let chosen = try master.variant(for: try #require(Quality(text: quality)))
        #expect(chosen.url.lastPathComponent == expected)
    }

    @Test("where no variant tells its height, the bandwidth decides")
    func bandwidthAlone() throws {
        let master = try parse(
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=5\nlow\n#EXT-X-STREAM-INF:BANDWIDTH=7\nhigh\n"
        )
        #expect(try master.variant(for: .best).url.lastPathComponent == "high")
        #expect(try master.variant(for: .worst).url.lastPathComponent == "low")
        #expect(try master.variant(for: .height(720)).url.lastPathComponent == "high")
        #expect(try master.variant(for: .bandwidth(6)).url.lastPathComponent == "low")
    }

    @Test("sound alone is taken where there is nothing else")
    func soundAlone() throws {
        let master = try parse(
            """
            #EXTM3U
            #EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS="mp4a.40.5"
            low
            #EXT-X-STREAM-INF:BANDWIDTH=128000,CODECS="mp4a.40.2"
            high
            """
        )
        #expect(try master.variant(for: .best).url.lastPathComponent == "high")
    }

    @Test("a variant whose sound is in a playlist of its own is not taken")
    func separateSound() throws {
        let text = """
            #EXTM3U
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac",NAME="English",DEFAULT=YES,URI="eng/a.m3u8"
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="inside",NAME="English",DEFAULT=YES
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="inside",NAME="Comments",URI="com/a.m3u8"
            #EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subs",NAME="English",URI="subs.m3u8"
            #EXT-X-STREAM-INF:BANDWIDTH=7680000,CODECS="avc1,mp4a",RESOLUTION=1920x1080,AUDIO="aac"
            hi/video-only.m3u8

            """
        let refusal = PlaylistError(line: 0, reason: .unsupported(.separateAudio))
        #expect(throws: refusal) { try parse(text).variant(for: .best) }
        let both = """
            #EXT-X-STREAM-INF:BANDWIDTH=1280000,RESOLUTION=640x360,AUDIO="inside",SUBTITLES="subs"
            low/with-sound.m3u8
            """
        let chosen = try parse(text + both).variant(for: .best)
        #expect(chosen.url.absoluteString == "https://h.test/low/with-sound.m3u8")
        let audioOnly = "#EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS=\"mp4a.40.2\"\nsound.m3u8\n"
        #expect(throws: refusal, "sound alone is not what was asked for") {
            try parse(text + audioOnly).variant(for: .best)
        }
    }

    @Test(
        "an attribute or line that cannot be read costs no variant, and is reported",
        arguments: [
            ("#EXT-X-STREAM-INF:BANDWIDTH=x\nv\n", "without attributes", .variant),
            ("#EXT-X-STREAM-INF:BANDWIDTH=None,RESOLUTION=160x90\nv\n", "90p", .variant),
            ("#EXT-X-STREAM-INF:BANDWIDTH=9000.5\nv\n", "9k", .variant),
            ("#EXT-X-STREAM-INF:PROGRAM-ID=1\nv\n", "without attributes", .variant),
            ("#EXT-X-STREAM-INF:BANDWIDTH=9000,RESOLUTION=1x\nv\n", "9k", .variant),
            ("#EXT-X-STREAM-INF:BANDWIDTH=9000,FRAME-RATE=NaN\nv\n", "9k", .variant),
            ("#EXT-X-STREAM-INF:BANDWIDTH=9000,BANDWIDTH=2\nv\n", "9k", .attributes),
            ("#EXT-X-STREAM-INF:BANDWIDTH=9000,NAME=\"x\nv\n", "9k", .attributes),
            ("#EXT-X-STREAM-INF: BANDWIDTH = 9000 , RESOLUTION = 1x2\nv\n", "2p 9k", .attributes),
            ("#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXT-X-STREAM-INF:BANDWIDTH=2000\nv", "2k", .variant),
            (
                "#EXT-X-STREAM-INF:BANDWIDTH=9000\nv\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", "9k",
                .variant
            ),
            ("#EXT-X-STREAM-INF:BANDWIDTH=9000\nv\nw\n", "9k", .variant),
            ("#EXT-X-STREAM-INF:BANDWIDTH=9000\nv\n#EXTINF:1,\n", "9k", .mixedKinds),
            ("#EXT-X-MEDIA:TYPE=AUDIO\n#EXT-X-STREAM-INF:BANDWIDTH=9000\nv\n", "9k", .attributes),
            (
                "#EXT-X-STREAM-INF:BANDWIDTH=1\nfile:///v\n#EXT-X-STREAM-INF:BANDWIDTH=9000\nv",
                "9k", .address
            ),
            (
                "#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://h/v\n#EXT-X-STREAM-INF:BANDWIDTH=9000\nv",
                "9k", .address
            ),
        ] as [(String, String, PlaylistDeviation)]
    )
    func lenient(_ rest: String, expected: String, deviation: PlaylistDeviation) throws {
        let playlist = try parse("#EXTM3U\n" + rest)
        #expect(playlist.variants.map(\.description) == [expected])
        #expect(playlist.variants.first?.url.lastPathComponent == "v")
        #expect(playlist.deviations.contains(deviation))
    }

    @Test("variables are replaced in addresses, and handed on to media playlists")
    func variables() throws {
        let define = "#EXT-X-DEFINE:NAME=\"place\",VALUE=\"a/b\"\n"
        let master = try parse(
            "#EXTM3U\n\(define)#EXT-X-STREAM-INF:BANDWIDTH=9\n{$place}/{$no}v.m3u8\n"
        )
        #expect(master.variants.first?.url.absoluteString.hasSuffix("/a/b/%7B$no%7Dv.m3u8") == true)
        #expect(master.variables.replaced(in: "{$place}{$place") == "a/b{$place")
    }

    @Test("variants are bounded, and a list of none is not one to choose from")
    func bounds() throws {
        let one = "#EXT-X-STREAM-INF:BANDWIDTH=1\nv\n"
        #expect(throws: PlaylistError(line: 2003, reason: .tooManyVariants(limit: 1000))) {
            try parse("#EXTM3U\n" + String(repeating: one, count: 1001))
        }
        let none = try parse("#EXTM3U\n#EXT-X-SESSION-DATA:DATA-ID=\"x\"\n")
        #expect(throws: PlaylistError(line: 0, reason: .noVariants)) {
            try none.variant(for: .best)
        }
    }

    @Test(
        "qualities as they are written",
        arguments: [
            ("best", .best), ("worst", .worst), ("720p", .height(720)),
            ("2500k", .bandwidth(2_500_000)), ("6M", .bandwidth(6_000_000)), ("720", nil),
            ("p", nil), ("-1p", nil), ("0p", nil), ("720p60", nil), ("Best", nil), ("", nil),
            ("99999999999999999999M", nil), ("1000000M", nil),
        ] as [(String, Quality?)]
    )
    func quality(_ text: String, _ expected: Quality?) {
        #expect(Quality(text: text) == expected)
    }

    private func parse(_ text: String) throws -> MasterPlaylist {
        let base = try #require(URL(string: "https://h.test/master.m3u8"))
        let playlist = try Playlist.parse(Array(text.utf8), from: base)
        guard case .master(let master) = playlist else { throw NotOfVariants() }
        return master
    }

    private struct NotOfVariants: Error {}
}
