#!/usr/bin/env python3
"""A live HLS origin that misbehaves, for tests: usage: hls_origin.py DIRECTORY

Encodes a short picture once, prints its address, then plays the picture as live streams: to each program by itself, from its
first request on.

  /FORM/FAULTS/live.m3u8    a stream; forms: ts fmp4 aes range; faults: see FAULTS
  /FORM/FAULTS/master.m3u8  the same behind a master playlist, whose token expires after some seconds
  /FORM/FAULTS/expected/N   the bytes that part N of a recording must have; 404 where there is no such part
  /FORM/FAULTS/missed       how many segments nobody can have
"""
import http.server
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

SEGMENTS = 14  # Of one second each, in each of the two encodings.
WINDOW = 10
KEY = bytes(range(16))
TOKEN_SECONDS = 4
# What becomes of the first request for a segment, in turn; the second one is answered.
SEGMENT_FAULTS = ["500", "truncated", "page", "redirect", "closed", "slow", "503", None]
# What becomes of each load of a playlist, in turn.
PLAYLIST_FAULTS = [None, "redirect", "500", None, "shrunk", "truncated", "page", None, "slow", "empty"]
FAULTS = {
    "calm": "none",
    "shared": "none, and it is one stream for all programs, from the first request of any of them on",
    "rough": "each first request for a segment fails somehow, and every other one for the playlist",
    "gaps": "some segments answer 404, 403, or nothing but an error page, whenever they are asked for",
    "break": "EXT-X-DISCONTINUITY, and another encoding behind it",
    "reset": "the encoder is restarted: its numbers begin anew, without a word",
}
GONE = {3: 404, 4: 410, 8: 403, 11: "page"}


def encode(directory, size, first):
    """Two encodings of the same length, each as segments with and without a header, and as ranges of one file."""
    directory.mkdir(parents=True)
    command = ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25"]
    command += ["-f", "lavfi", "-i", f"sine=frequency={first}:sample_rate=48000", "-t", str(SEGMENTS)]
    command += ["-map", "0:v", "-map", "1:a", "-c:v", "libx264", "-preset", "ultrafast", "-threads", "1"]
    command += ["-g", "25", "-sc_threshold", "0", "-bf", "0", "-c:a", "aac", "-b:a", "64k", "-flags", "+global_header"]
    hls = "f=hls:hls_time=1:hls_list_size=0:hls_playlist_type=vod"
    subprocess.run(
        command
        + ["-f", "tee"]
        + [
            f"[{hls}:hls_segment_filename={directory}/s%d.ts]{directory}/ts.m3u8"
            f"|[{hls}:hls_segment_type=fmp4:hls_segment_filename={directory}/s%d.m4s]{directory}/fmp4.m3u8"
        ],
        check=True,
    )
    segments = [(directory / f"s{n}.ts").read_bytes() for n in range(SEGMENTS)]
    (directory / "all.ts").write_bytes(b"".join(segments))
    for number, segment in enumerate(segments):
        secret = ["openssl", "enc", "-aes-128-cbc", "-K", KEY.hex(), "-iv", number.to_bytes(16, "big").hex()]
        made = subprocess.run(secret, input=segment, capture_output=True, check=True)
        (directory / f"s{number}.aes").write_bytes(made.stdout)


class Stream:
    """One form with one kind of faults, from the first request for it on."""

    def __init__(self, media, form, faults):
        self.media, self.form, self.faults = media, form, faults
        self.lock = threading.Lock()
        self.started = None
        self.loads = 0
        self.seen = set()
        # (encoding, number in it) of every segment that is ever announced.
        one = [("a", n) for n in range(SEGMENTS)]
        two = [("b", n) for n in range(SEGMENTS)]
        self.segments = one[:8] + two[:8] if faults in ("break", "reset") else one

    def playlist(self, query, is_moved):
        with self.lock:
            self.started = self.started or time.monotonic()
            last = min(len(self.segments), 3 + int(time.monotonic() - self.started))
            fault = None
            if self.faults == "rough" and not is_moved:
                fault = PLAYLIST_FAULTS[self.loads % len(PLAYLIST_FAULTS)]
                self.loads += 1
        if fault == "shrunk":
            last -= 2
        if fault == "empty":
            return fault, self.header(0) + "\n"
        ended = last == len(self.segments)
        first = max(0, last - WINDOW)
        offset = 0
        if self.faults == "reset" and last > 8:
            first, offset = max(8, first), 8
        lines = [self.header(first - offset)]
        for number in range(first, last):
            lines += self.entry(number, query)
        return fault, "\n".join(lines + (["#EXT-X-ENDLIST"] if ended else [])) + "\n"

    def header(self, number):
        return f"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{number}"

    def entry(self, number, query):
        encoding, place = self.segments[number]
        lines = []
        if self.faults == "break" and number == 8:
            lines.append("#EXT-X-DISCONTINUITY")
        if self.form == "fmp4":
            lines.append(f'#EXT-X-MAP:URI="{encoding}/init.mp4{query}"')
        if self.form == "aes":
            lines.append(f'#EXT-X-KEY:METHOD=AES-128,URI="key{query}",IV=0x{place:032x}')
        lines.append("#EXTINF:1.000,")
        name = {"ts": f"s{place}.ts", "fmp4": f"s{place}.m4s", "aes": f"s{place}.aes", "range": "all.ts"}[self.form]
        if self.form == "range":
            sizes = [(self.media / encoding / f"s{n}.ts").stat().st_size for n in range(place + 1)]
            lines.append(f"#EXT-X-BYTERANGE:{sizes[-1]}@{sum(sizes[:-1])}")
        return lines + [f"{encoding}/{name}{query}"]

    def segment_fault(self, name, range_field):
        """What is to go wrong with this request; ranges are told apart by their numbers."""
        names = [e[-1].split("?")[0] for e in (self.entry(n, "") for n in range(len(self.segments)))]
        if name not in names:
            return None
        number = names.index(name)
        if self.form == "range":
            starts = [int(self.entry(n, "")[-2].split("@")[1]) for n in range(len(self.segments))]
            number = starts.index(int(range_field.split("=")[1].split("-")[0]))
        if self.faults == "gaps":
            return str(GONE[number]) if number in GONE else None
        with self.lock:
            first = number not in self.seen
            self.seen.add(number)
        return SEGMENT_FAULTS[number % len(SEGMENT_FAULTS)] if first and self.faults == "rough" else None

    def expected(self, part):
        wanted = {"a": [], "b": []}
        for number, (encoding, place) in enumerate(self.segments):
            if self.faults != "gaps" or number not in GONE:
                wanted[encoding].append(place)
        encoding = "ab"[part]
        if not wanted[encoding]:
            return None
        suffix = "m4s" if self.form == "fmp4" else "ts"
        directory = self.media / encoding
        header = (directory / "init.mp4").read_bytes() if self.form == "fmp4" else b""
        return header + b"".join((directory / f"s{n}.{suffix}").read_bytes() for n in wanted[encoding])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    media = None
    streams = {}
    lock = threading.Lock()

    def log_message(self, *_):
        pass

    def do_GET(self):
        path, _, query = self.path.partition("?")
        self.is_moved = "moved=1" in query
        token = urllib.parse.parse_qs(query).get("token", [None])[0]
        _, form, faults, *rest = path.split("/") + ["", ""]
        name = "/".join(part for part in rest if part)
        if form not in ("ts", "fmp4", "aes", "range") or faults not in FAULTS:
            return self.answer(404)
        with self.lock:
            viewer = (form, faults, None if faults == "shared" else self.headers.get("User-Agent"))
            stream = self.streams.setdefault(viewer, Stream(self.media, form, faults))
        if name == "missed":
            return self.answer(200, str(len(GONE) if faults == "gaps" else 0).encode())
        if name.startswith("expected/"):
            part = int(name.split("/")[1])
            body = stream.expected(part) if part < 2 else None
            return self.answer(200, body) if body else self.answer(404)
        if name == "master.m3u8":
            low = "#EXT-X-STREAM-INF:BANDWIDTH=100,RESOLUTION=16x9\nno-such.m3u8"
            high = "#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=160x90"
            text = f"#EXTM3U\n{low}\n{high}\nlive.m3u8?token={time.monotonic()}\n"
            return self.answer(200, text.encode())
        if name == "live.m3u8":
            if token and time.monotonic() - float(token) > TOKEN_SECONDS:
                return self.answer(403)
            fault, text = stream.playlist(f"?token={token}" if token else "", self.is_moved)
            return self.fail(fault, text.encode())
        self.serve(stream, name)

    def serve(self, stream, name):
        if name == "key":
            return self.answer(200, KEY)
        file = self.media / name
        if not file.is_file():
            return self.answer(404)
        field = self.headers.get("Range", "")
        body = file.read_bytes()
        fault = stream.segment_fault(name, field)
        if field:
            first, last = (int(n) for n in field.split("=")[1].split("-"))
            part = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
            return self.fail(fault, body[first : last + 1], 206, part)
        self.fail(fault, body)

    def fail(self, fault, body, status=200, fields=None):
        """Answers, or does what the fault says instead."""
        fields = fields or {}
        if fault == "redirect":
            elsewhere = self.path + ("&" if "?" in self.path else "?") + "moved=1"
            return self.answer(302, b"moved", {"Location": elsewhere})
        if fault == "truncated":
            return self.answer(status, body[: len(body) // 2], fields, announced=len(body))
        if fault == "page":
            return self.answer(200, b"<html>try again later</html>")
        if fault == "closed":
            self.close_connection = True
            return None
        if fault == "slow":
            return self.answer(status, body, fields, pause=1)
        if fault and fault.isdigit():
            return self.answer(int(fault), b"sorry")
        return self.answer(status, body, fields)

    def answer(self, status, body=b"", fields=None, announced=None, pause=0):
        self.send_response(status)
        for name, value in (fields or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        piece = max(1, len(body) // 10 if pause else len(body))
        for start in range(0, len(body), piece):
            time.sleep(pause / 10)
            self.wfile.write(body[start : start + piece])
        if announced is not None:
            self.close_connection = True


def main():
    media = Path(sys.argv[1])
    encode(media / "a", "160x90", 440)
    encode(media / "b", "192x108", 660)
    Handler.media = media
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


main()
