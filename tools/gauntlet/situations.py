"""The situations: what origins in the field do, with the public report where there is one."""

import gzip
import re
import zlib

from .media import KEY, SEGMENTS, encrypted

COUNT = 12  # Segments that a live stream plays before its end.
WINDOW = 5


class Situation:
    """A live stream of one-second segments that slides through a playlist, and whatever is odd about it.

    Each hook gets the number of a segment, or of the first of the window, and the origin.
    """

    def __init__(self, name, form="ts", **hooks):
        self.name, self.form = name, form
        self.count = hooks.pop("count", COUNT)
        self.window = hooks.pop("window", WINDOW)
        self.period = hooks.pop("period", 1.0)
        # Segments that nobody can have.
        self.absent = hooks.pop("absent", set())
        self.hooks = hooks
        self.suffix = ".mp4" if form == "fmp4" else ".aac" if form == "packed" else ".ts"

    def hook(self, name, default, *arguments):
        return self.hooks[name](*arguments) if name in self.hooks else default

    def answer(self, path, headers, origin):
        special = self.hook("route", None, path, headers, origin)
        if special is not None:
            return special
        name = path.partition("?")[0]
        if name == "/live.m3u8":
            text = self.playlist(origin, path)
            return self.hook("send_playlist", text, text, headers, origin)
        if name == "/key":
            return KEY
        if name.endswith("init.mp4"):
            return self.hook("init", origin.media.init(), origin)
        number = origin.number(path)
        if number is None:
            return None
        body = self.body(number, origin)
        return self.hook("send_segment", body, body, number, headers, origin)

    def body(self, number, origin):
        media = origin.media
        if "body" in self.hooks:
            return self.hooks["body"](number, origin)
        encoding, place = self.place(number)
        if self.form == "fmp4":
            return media.m4s(place, encoding)
        return media.packed(place, encoding) if self.form == "packed" else media.ts(place, encoding)

    def place(self, number):
        return self.hook("place", ("a", number), number)

    def expected(self):
        """The segments that can be had, as `Media.sent` numbers them."""
        places = [self.place(number) for number in range(self.count) if number not in self.absent]
        return {"ab".index(encoding) * SEGMENTS + place for encoding, place in places}

    def bounds(self, origin):
        """First and end of the window, and whether the stream has ended."""
        if "bounds" in self.hooks:
            return self.hooks["bounds"](origin)
        end = min(self.count, 3 + int(origin.age / self.period))
        return max(0, end - self.window), end, end == self.count

    def playlist(self, origin, path="/live.m3u8"):
        load = origin.load()
        first, end, has_ended = self.bounds(origin)
        lines = ["#EXTM3U", "#EXT-X-VERSION:7", self.hook("target", "#EXT-X-TARGETDURATION:1")]
        sequence = self.hook("sequence", first, first, origin)
        if sequence is not None:
            lines.append(f"#EXT-X-MEDIA-SEQUENCE:{sequence}")
        lines += self.hook("head", [], first, origin)
        for number in range(first, end):
            lines += self.hook("before", [], number, origin)
            if self.form == "fmp4" and "map" not in self.hooks:
                lines.append('#EXT-X-MAP:URI="init.mp4"')
            lines += self.hook("map", [], number, origin)
            reference = self.hook("uri", self.default_name(number), number, origin)
            inf = self.hook("inf", "#EXTINF:1.000,", number, origin)
            lines += ([inf] if inf else []) + [reference]
            origin.announce(path, self.hook("meant", reference, reference, number, load), number)
        lines += ["#EXT-X-ENDLIST"] if has_ended and self.hook("ends", True) else []
        text = "\n".join(lines) + "\n"
        return self.hook("text", text, text, origin)

    def default_name(self, number):
        return f"s{number}" + {"fmp4": ".m4s", "packed": ".aac"}.get(self.form, ".ts")


def signature(origin):
    return f"{origin.state['loads']:x}ab12/{1796000000 + origin.state['loads']}"


def date(number, shift=0):
    return f"#EXT-X-PROGRAM-DATE-TIME:2026-11-30T12:00:{number:02d}.{shift % 1000:03d}Z"


def key(extra=""):
    return f'#EXT-X-KEY:METHOD=AES-128,URI="key"{extra}'


def first_time(action):
    """The first request for each segment gets what `action` makes of it; later ones the segment."""

    def send(body, number, headers, origin):
        seen = origin.state.setdefault("seen", set())
        if number in seen:
            return body
        seen.add(number)
        return action(body, number)

    return send


def only(numbers, action):
    def send(body, number, headers, origin):
        return action(body) if number in numbers else body

    return send


def page(*_):
    return 200, {"Content-Type": "text/html"}, b"<html><body>please try again later</body></html>"


def master(lines, **routes):
    """A master playlist at the address of the stream; `routes` are the paths of its media playlists."""

    def route(path, headers, origin):
        if path.partition("?")[0] == "/live.m3u8":
            return "#EXTM3U\n" + "\n".join(lines) + "\n"
        return None

    return route


def behind_master(stream_inf, rest=()):
    """The stream at media.m3u8, named by a master playlist with this EXT-X-STREAM-INF."""

    def route(path, headers, origin):
        name = path.partition("?")[0]
        if name == "/live.m3u8":
            return "\n".join(["#EXTM3U", *rest, stream_inf, "media.m3u8"]) + "\n"
        if name == "/media.m3u8":
            return origin.situation.playlist(origin, "/media.m3u8")
        return None

    return route


def ranges(origin, implicit=False):
    sizes = [len(origin.media.ts(n)) for n in range(SEGMENTS)]
    return [(sizes[n], sum(sizes[:n])) for n in range(SEGMENTS)]


def range_route(path, headers, origin):
    if not path.startswith("/all.ts"):
        return None
    whole = b"".join(origin.media.ts(n) for n in range(SEGMENTS))
    wanted = re.match(r"bytes=(\d+)-(\d+)", headers.get("Range", ""))
    if not wanted:
        return whole
    first, last = int(wanted[1]), int(wanted[2])
    fields = {"Content-Range": f"bytes {first}-{last}/{len(whole)}"}
    return 206, fields, whole[first : last + 1]


def cut_anywhere(number, origin):
    """A byte-exact cut of the stream, without regard to packets."""
    whole = b"".join(origin.media.ts(n) for n in range(SEGMENTS))
    edges = [sum(len(origin.media.ts(n)) for n in range(k)) for k in range(SEGMENTS + 1)]
    offset = [0] + [edge + 77 * (k % 2) + 1 for k, edge in enumerate(edges[1:-1], 1)] + [len(whole)]
    return whole[offset[number] : offset[number + 1]]


def reset_bounds(origin):
    """Segments 0 to 5 of the first encoder, then those of a second one, whose numbers begin anew."""
    end = min(COUNT, 3 + int(origin.age))
    if end <= 6:
        return max(0, end - WINDOW), end, False
    return max(6, end - WINDOW), end, end == COUNT


def reset_place(number):
    return ("a", number) if number < 6 else ("b", number - 6)


def compressed(body, how="gzip"):
    packed = gzip.compress(body) if how == "gzip" else zlib.compress(body)
    return 200, {"Content-Encoding": how}, packed


def as_bytes(body):
    return body.encode() if isinstance(body, str) else body


def all_situations():
    yield Situation("steady ts")
    yield Situation("steady fmp4", "fmp4")
    yield Situation("slow segments", period=2.0, count=8, target=lambda: "#EXT-X-TARGETDURATION:2")

    # How segments are identified.
    for form in ("ts", "fmp4"):
        ending = ".m4s" if form == "fmp4" else ".ts"
        yield Situation(f"signed paths {form}", form, uri=lambda n, o, e=ending: f"{signature(o)}/s{n}{e}")
        yield Situation(f"signed queries {form}", form, uri=lambda n, o, e=ending: f"s{n}{e}?token={signature(o)}")
        yield Situation(f"recomputed dates {form}", form, before=lambda n, o: [date(n, o.state["loads"])])
    yield Situation("signed paths, slow", period=2.4, count=6, target=lambda: "#EXT-X-TARGETDURATION:2", uri=lambda n, o: f"{signature(o)}/s{n}.ts")
    yield Situation("ended, signed paths", count=8, bounds=lambda o: (0, 8, True), uri=lambda n, o: f"{signature(o)}/s{n}.ts")
    yield Situation("ended, recomputed dates", count=8, bounds=lambda o: (0, 8, True), before=lambda n, o: [date(n, o.state["loads"])])
    yield Situation("ended", count=8, bounds=lambda o: (0, 8, True))
    yield Situation("sequence always 0", sequence=lambda f, o: 0)
    yield Situation("no sequence", sequence=lambda f, o: None)
    yield Situation("sequence always 0, signed paths", sequence=lambda f, o: 0, uri=lambda n, o: f"{signature(o)}/s{n}.ts")
    yield Situation("stale copies", bounds=stale_bounds)
    yield Situation("stale copies, signed paths", bounds=stale_bounds, uri=lambda n, o: f"{signature(o)}/s{n}.ts")
    yield Situation("alternating servers", uri=lambda n, o: f"edge{o.state['loads'] % 2}/s{n}.ts")
    yield Situation("reset far below", bounds=reset_bounds, place=reset_place, sequence=lambda f, o: f + 1000 if f < 6 else f - 6)
    yield Situation("reset, same names", bounds=reset_bounds, place=reset_place, sequence=lambda f, o: f + 1000 if f < 6 else f - 6, uri=lambda n, o: f"{'x' if n < 6 else 'y'}/s{n % 6}.ts")
    yield Situation("reset into the window", bounds=reset_bounds, place=reset_place, sequence=lambda f, o: f + 3 if f < 6 else f - 4)
    yield Situation("leap of the sequence", sequence=lambda f, o: f if f < 4 else f + 10**9)
    yield Situation("huge sequence", sequence=lambda f, o: 2**62 + f)
    yield Situation("sequence beyond 64 bits", sequence=lambda f, o: f"184467440737095516{16 + f:02d}")
    yield Situation("negative sequence", sequence=lambda f, o: -5 + f)
    yield Situation("gaps in front", before=lambda n, o: ["#EXT-X-GAP"] if n < 2 else [], absent={0, 1}, send_segment=only({0, 1}, lambda b: (404, {}, b"")))

    # How a playlist is written.
    yield Situation("blank in EXTINF", inf=lambda n, o: "#EXTINF: 1.000,")
    yield Situation("blanks around the comma", inf=lambda n, o: "#EXTINF:1.000 , title")
    yield Situation("blank in MEDIA-SEQUENCE", sequence=lambda f, o: f" {f}")
    yield Situation("blank in TARGETDURATION", target=lambda: "#EXT-X-TARGETDURATION: 1")
    yield Situation("fractional TARGETDURATION", target=lambda: "#EXT-X-TARGETDURATION:1.5")
    yield Situation("no TARGETDURATION", target=lambda: "")
    yield Situation("negative EXTINF", inf=lambda n, o: "#EXTINF:-1.000," if n == 4 else "#EXTINF:1.000,")
    yield Situation("EXTINF:-1 everywhere", inf=lambda n, o: "#EXTINF:-1,")
    yield Situation("EXTINF without a number", inf=lambda n, o: "#EXTINF:," if n % 3 == 1 else "#EXTINF:1.000,")
    yield Situation("EXTINF with an exponent", inf=lambda n, o: "#EXTINF:1e0,")
    yield Situation("EXTINF with a comma for a point", inf=lambda n, o: "#EXTINF:1,000")
    yield Situation("no EXTINF", inf=lambda n, o: None if n % 3 == 1 else "#EXTINF:1.000,")
    yield Situation("zero TARGETDURATION", target=lambda: "#EXT-X-TARGETDURATION:0")
    yield Situation("byte order mark", text=lambda t, o: "\ufeff" + t)
    yield Situation("CRLF", text=lambda t, o: t.replace("\n", "\r\n"))
    yield Situation("blank lines in front", text=lambda t, o: "\n\n" + t)
    yield Situation("blanks before and after lines", text=lambda t, o: "".join(f" {line} \n" for line in t.splitlines()))
    yield Situation("unknown tags", before=lambda n, o: ["#EXT-X-CUE-OUT:30", "#EXT-OATCLS-SCTE35:/DA0", "# comment", "#EXT-X-ODD"])
    yield Situation("EXT-X-START that is odd", head=lambda f, o: ["#EXT-X-START:TIME-OFFSET=abc"])
    yield Situation("date that is odd", before=lambda n, o: ["#EXT-X-PROGRAM-DATE-TIME:yesterday"])
    yield Situation("odd DISCONTINUITY-SEQUENCE", head=lambda f, o: ["#EXT-X-DISCONTINUITY-SEQUENCE: x"])
    yield Situation("BITRATE, DATERANGE, SCTE", before=lambda n, o: ["#EXT-X-BITRATE:100", f'#EXT-X-DATERANGE:ID="{n}",START-DATE="x"'])
    yield Situation("low latency tags", head=lambda f, o: ["#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.0", "#EXT-X-PART-INF:PART-TARGET=0.33"], before=lambda n, o: [f'#EXT-X-PART:DURATION=0.33,URI="p{n}.ts"'])
    yield Situation("variables", head=lambda f, o: ['#EXT-X-DEFINE:NAME="place",VALUE="folder"'], uri=lambda n, o: "{$place}/s%d.ts" % n, meant=lambda r, n, load: f"folder/s{n}.ts")
    yield Situation("VERSION twice, tags out of order", text=lambda t, o: t.replace("#EXT-X-VERSION:7\n", "") + "#EXT-X-VERSION:3\n#EXT-X-VERSION:4\n")

    # What segments are called.
    yield Situation("colon in the name", uri=lambda n, o: f"a:b/s{n}.ts", meant=lambda r, n, load: f"/a:b/s{n}.ts")
    yield Situation("./ and a colon", uri=lambda n, o: f"./12:30:{n:02d}.ts")
    yield Situation("blank in the name", uri=lambda n, o: f"my stream/s {n}.ts")
    yield Situation("escapes in the name", uri=lambda n, o: f"a%2Fb%20c/s{n}.ts")
    yield Situation("brackets and pipes in the name", uri=lambda n, o: f"s[{n}]|x.ts")
    yield Situation("letters beyond ASCII", uri=lambda n, o: f"strøm/s{n}.ts")
    yield Situation("steps upwards", uri=lambda n, o: f"../../s{n}.ts")
    yield Situation("everything in the query", uri=lambda n, o: f"chunk?file=../a b/s{n}.ts&x=1?y=2")
    yield Situation("absolute addresses", uri=lambda n, o: f"{o.address.rsplit('/', 1)[0]}/s{n}.ts", meant=lambda r, n, load: f"/s{n}.ts")
    yield Situation("absolute paths", uri=lambda n, o: f"/deep/folder/s{n}.ts")

    # How an origin answers.
    yield Situation("gzip playlist", send_playlist=lambda t, h, o: compressed(t.encode()))
    yield Situation("deflate playlist", send_playlist=lambda t, h, o: compressed(t.encode(), "deflate"))
    yield Situation("gzip segments", send_segment=lambda b, n, h, o: compressed(b))
    for name in ("gzip", "utf-8", "br"):
        yield Situation(f"plain segments called {name}", send_segment=lambda b, n, h, o, name=name: (200, {"Content-Encoding": name}, b))
    yield Situation("gzip fmp4", "fmp4", send_segment=lambda b, n, h, o: compressed(b), send_playlist=lambda t, h, o: compressed(t.encode()))
    yield Situation("503 first", send_segment=first_time(lambda b, n: (503, {}, b"")))
    yield Situation("429 with Retry-After", send_segment=first_time(lambda b, n: (429, {"Retry-After": "1"}, b"") if n % 3 == 0 else b))
    yield Situation("page first", send_segment=first_time(page))
    yield Situation("403 until the next load", send_segment=first_time(lambda b, n: (403, {}, b"") if n % 2 else b))
    yield Situation("truncated first", send_segment=first_time(lambda b, n: (200, {"Content-Length": str(len(b))}, b[: len(b) // 2])))
    yield Situation("segment that is gone", absent={5}, send_segment=only({5}, lambda b: (404, {}, b"")))
    yield Situation("wrong Content-Type", send_playlist=lambda t, h, o: (200, {"Content-Type": "text/html"}, t.encode()))
    yield Situation("playlist 500 at times", send_playlist=lambda t, h, o: (500, {}, b"") if o.state["loads"] % 4 == 3 else t)
    yield Situation("empty playlist at times", send_playlist=lambda t, h, o: "#EXTM3U\n" if o.state["loads"] % 4 == 3 else t)
    yield Situation("tokens that expire", uri=lambda n, o: f"s{n}.ts?t={int(o.age)}", send_segment=lambda b, n, h, o: b)

    # What segments contain.
    yield Situation("garbage in front", body=lambda n, o: bytes(range(1, 120)) + o.media.ts(n))
    yield Situation("two broken packets in front", body=lambda n, o: bytes(376) + o.media.ts(n))
    yield Situation("garbage between packets", body=lambda n, o: o.media.ts(n)[: 188 * 20] + b"odd" * 5 + o.media.ts(n)[188 * 20 :])
    yield Situation("cut without regard to packets", body=cut_anywhere)
    yield Situation("ID3 in front", body=lambda n, o: b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + o.media.ts(n))
    yield Situation("PNG in front", body=lambda n, o: b"\x89PNG\r\n\x1a\n" + bytes(204) + o.media.ts(n))
    yield Situation("null packets", body=lambda n, o: (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 5 + o.media.ts(n))
    yield Situation("packed audio", "packed")
    yield Situation("self-initializing fmp4", "fmp4", map=lambda n, o: [], body=lambda n, o: o.media.init() + o.media.m4s(n))
    yield Situation("tables in EXT-X-MAP", map=lambda n, o: ['#EXT-X-MAP:URI="tables.ts"'], route=lambda p, h, o: o.media.ts(0)[: 3 * 188] if p == "/tables.ts" else None, body=lambda n, o: o.media.ts(n)[3 * 188 :])

    # Encryption.
    yield Situation("AES, vector from the number", before=lambda n, o: [key()], body=lambda n, o: encrypted(o.media.ts(n), n))
    yield Situation("AES, vector given", before=lambda n, o: [key(f",IV=0x{n + 7:032X}")], body=lambda n, o: encrypted(o.media.ts(n), n + 7))
    yield Situation("AES, key as data:", before=lambda n, o: [f'#EXT-X-KEY:METHOD=AES-128,URI="data:text/plain;base64,AAECAwQFBgcICQoLDA0ODw==",IV=0x{n:032x}'], body=lambda n, o: encrypted(o.media.ts(n), n))
    yield Situation("AES without padding", before=lambda n, o: [key()], body=lambda n, o: encrypted(pad_to_block(o.media.ts(n)), n, pads=False))
    yield Situation("AES, blanks in the list", before=lambda n, o: [f'#EXT-X-KEY: METHOD=AES-128 , URI="key" , IV=0x{n:032x}'], body=lambda n, o: encrypted(o.media.ts(n), n))
    yield Situation("AES, key replaced", before=lambda n, o: [key()], route=rotating_key, body=lambda n, o: encrypted(o.media.ts(n), n, KEY if n < 6 else KEY[::-1]))
    yield Situation("AES fmp4", "fmp4", before=lambda n, o: [key(f",IV=0x{n:032x}")], map=lambda n, o: ["#EXT-X-KEY:METHOD=NONE", '#EXT-X-MAP:URI="init.mp4"', key(f",IV=0x{n:032x}")], body=lambda n, o: encrypted(o.media.m4s(n), n))

    # Ranges, breaks, masters.
    yield Situation("byte ranges", route=range_route, before=lambda n, o: ["#EXT-X-BYTERANGE:%d@%d" % ranges(o)[n]], uri=lambda n, o: "all.ts")
    yield Situation("byte ranges without offsets", bounds=lambda o: (0, min(COUNT, 3 + int(o.age)), o.age > COUNT), route=range_route, before=lambda n, o: ["#EXT-X-BYTERANGE:%d" % ranges(o)[n][0] + ("@0" if n == 0 else "")], uri=lambda n, o: "all.ts")
    yield Situation("discontinuity before each segment", before=lambda n, o: ["#EXT-X-DISCONTINUITY"], head=lambda f, o: [f"#EXT-X-DISCONTINUITY-SEQUENCE:{f}"])
    yield Situation("discontinuity with another encoding", place=lambda n: ("a", n) if n < 6 else ("b", n - 6), before=lambda n, o: ["#EXT-X-DISCONTINUITY"] if n == 6 else [])
    yield Situation("small TARGETDURATION", period=3.0, count=5, inf=lambda n, o: "#EXTINF:3.000,")
    for label, attributes in {
        "fractional BANDWIDTH": "BANDWIDTH=900000.5",
        "BANDWIDTH=None": "BANDWIDTH=None,RESOLUTION=160x90",
        "no BANDWIDTH": "RESOLUTION=160x90",
        "odd RESOLUTION": "BANDWIDTH=900000,RESOLUTION=big",
        "odd FRAME-RATE": "BANDWIDTH=900000,FRAME-RATE=NaN",
        "odd CODECS": 'BANDWIDTH=900000,CODECS=""',
        "blanks in the attributes": 'BANDWIDTH = 900000 , RESOLUTION = 160x90 , CODECS = "avc1.42c00b,mp4a.40.2"',
        "attribute twice": "BANDWIDTH=900000,BANDWIDTH=900000",
        "lower case attributes": "BANDWIDTH=900000,name=x",
        "quote left open": 'BANDWIDTH=900000,NAME="x',
    }.items():
        yield Situation(f"variant: {label}", route=behind_master(f"#EXT-X-STREAM-INF:{attributes}"))
    yield Situation("variant that is dead", route=dead_variant)
    yield Situation("master with sequence 0 in it", route=behind_master("#EXT-X-STREAM-INF:BANDWIDTH=1", ["#EXT-X-MEDIA-SEQUENCE:0"]))
    yield Situation("rendition without GROUP-ID", route=behind_master("#EXT-X-STREAM-INF:BANDWIDTH=1", ['#EXT-X-MEDIA:TYPE=SUBTITLES,NAME="x"']))


def stale_bounds(origin):
    """Every third answer is a copy from two seconds ago."""
    age = origin.age - (2 if origin.state["loads"] % 3 == 2 else 0)
    end = min(COUNT, 3 + int(max(0, age)))
    return max(0, end - WINDOW), end, end == COUNT


def pad_to_block(body):
    """Null packets until the length is a multiple of AES' 16 bytes: without padding nothing else can be encrypted."""
    while len(body) % 16:
        body += b"\x47\x1f\xff\x10" + b"\xff" * 184
    return body


def rotating_key(path, headers, origin):
    """The key at the same address changes when segment 6 is encrypted, as soon as it is announced."""
    if path.partition("?")[0] != "/key":
        return None
    return KEY if origin.situation.bounds(origin)[1] <= 6 else KEY[::-1]


def dead_variant(path, headers, origin):
    """Two equivalent variants; the server of the first is gone (RFC 8216, section 6.2.4)."""
    name = path.partition("?")[0]
    if name == "/live.m3u8":
        inf = "#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=160x90"
        return f"#EXTM3U\n{inf}\ndead/media.m3u8\n{inf}\nmedia.m3u8\n"
    if name == "/media.m3u8":
        return origin.situation.playlist(origin, "/media.m3u8")
    return None
