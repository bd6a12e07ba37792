"""A hostile origin: /STREAM/... is answered as the attack says that the stream is under just now.

usage: python3 -m hostile.origin ADDRESS PORT SEED DIARY EXPORTER_PORT CANARY_PORT
"""

import gzip
import http.server
import os
import random
import socket
import struct
import sys
import threading
import time

from .attacks import Deck, Diary

deck = Deck("origin")
attack = deck.attack
PACKET = b"\x47\x1f\xff\x10" + b"\xff" * 184
LAST = 2**64 - 1
EXTREMES = [-1, 0, 1, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, LAST - 1, LAST, 10**25]
NEIGHBOURS = ["/-/terminating", "/metrics", "/-/healthy"]
MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH={}\n{}\n"


def lines_of(numbers, before=""):
    return [f"{before}#EXTINF:1,\ns{number}.ts\n" for number in numbers]


@attack(3)
def good_interlude(ask):
    """a stream as it should be"""
    if ask.is_playlist:
        now = int(time.monotonic())
        return ask.playlist(now - 3, lines_of(range(now - 3, now)))
    ask.media(200)


@attack()
def sequence_leaps(ask):
    """leaps of the media sequence, with gaps"""
    if ask.is_playlist:
        first = [0, 0, ask.rnd.choice(EXTREMES[3:-1])][min(ask.loads, 2)]
        return ask.playlist(first, [*lines_of([1]), *lines_of([2], "#EXT-X-GAP\n"), *lines_of([3])])
    ask.media(20)


@attack()
def sequence_zigzag(ask):
    """media sequences that go to and fro"""
    if ask.is_playlist:
        return ask.playlist([0, 2**63 + 5, 7, LAST - 100][ask.loads % 4] + ask.loads // 4, lines_of([ask.loads, ask.loads + 1]))
    ask.media(20)


@attack(2)
def odd_numbers(ask):
    """numbers of every size in every tag"""
    if ask.is_playlist:
        pick = lambda: ask.rnd.choice(EXTREMES)
        entries = ask.rnd.sample([
            f"#EXTINF:{pick()},\na.ts\n", "#EXTINF:nan,\nb.ts\n", "#EXTINF:1e400,\nc.ts\n", "#EXTINF:.,\nd.ts\n",
            f"#EXT-X-BYTERANGE:{pick()}@{pick()}\n#EXTINF:1,\ne.ts\n", f"#EXT-X-BYTERANGE:{pick()}\n#EXTINF:1,\ne.ts\n",
            f"#EXT-X-DISCONTINUITY-SEQUENCE:{pick()}\n#EXT-X-DISCONTINUITY\n#EXTINF:1,\nf.ts\n",
            f'#EXT-X-MAP:URI="m.mp4",BYTERANGE="{pick()}@{pick()}"\n#EXTINF:1,\ng.m4s\n',
            f"#EXT-X-START:TIME-OFFSET=-{pick()}\n#EXTINF:1,\nh.ts\n", f"#EXTINF:1000000,\ni.ts\n" * 500,
            f'#EXT-X-KEY:METHOD=AES-128,URI="k.key",IV=0x{"f" * ask.rnd.choice([0, 1, 31, 32, 33])}\n#EXTINF:1,\nj.ts\n'], 4)
        return ask.playlist(pick(), entries, target=pick())
    ask.media(ask.rnd.randrange(1, 30))


@attack()
def odd_dates(ask):
    """dates outside of every calendar"""
    dates = ["2147483647-25-01T00:00:00Z", "9999-12-31T23:59:60Z", "0000-00-00T00:00:00Z", "-1-1-1T", "1970-01-01T00:00:00+99:99",
             "2026-02-30T99:99:99.999999999999999999Z", "99999999999999999999-01-01T00:00:00Z"]
    if ask.is_playlist:
        return ask.playlist(ask.loads, [f"#EXT-X-PROGRAM-DATE-TIME:{date}\n#EXTINF:1,\ns{ask.loads}-{place}.ts\n"
                                        for place, date in enumerate(dates)])
    ask.media(20)


@attack(2)
def endless_segments(ask):
    """segments without an end"""
    if ask.is_playlist:
        return ask.playlist(ask.loads, lines_of(range(ask.loads, ask.loads + 3)))
    ask.head(200, **{"Transfer-Encoding": "chunked"})
    chunk = PACKET * 1000
    while not ask.is_over:
        ask.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        time.sleep(0.01)  # About 18 MB/s, so that the machine is left to the others.


@attack()
def endless_playlist(ask):
    """a playlist without an end"""
    ask.head(200)
    ask.send(b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n")
    while not ask.is_over:
        ask.send(b"#EXTINF:1,\nhttp://example.org/s.ts\n" * 1000)
        time.sleep(0.01)


@attack()
def long_base_address(ask):
    """a base address of 60 kB under 50,000 segments"""
    if ask.is_playlist and len(ask.path) < 100:
        return ask.body(MASTER.format(1000, f"/{ask.stream}/{'a' * 60_000}/m.m3u8").encode())
    if ask.is_playlist:
        return ask.playlist(0, ["#EXTINF:1,\ns\n"] * 50_000)
    ask.media(1)


@attack()
def long_lines(ask):
    """lines of a megabyte"""
    bodies = ["#EXTINF:1," + "t" * 1_000_000 + "\ns.ts\n", "#EXT" + "X" * 1_000_000 + "\n", "#EXTINF:1,\n" + "/%41" * 250_000 + "\n",
              "#EXTINF:1,\n" + "../" * 300_000 + "s.ts\n", "#EXTINF:" + "1" * 1_000_000 + ",\ns.ts\n", '#EXT-X-KEY:' + '"' * 500_000 + "\n",
              "#EXTINF:1,\nhttp://" + "a." * 500_000 + "/s.ts\n"]
    ask.playlist(ask.loads, [ask.rnd.choice(bodies)])


@attack(2)
def tiny_discontinuities(ask):
    """a discontinuity before each 1.5 kB"""
    if ask.is_playlist:
        first = ask.loads * 200
        return ask.playlist(first, lines_of(range(first, first + 200), "#EXT-X-DISCONTINUITY\n"))
    ask.media(8)


@attack()
def trickling_bodies(ask):
    """a byte of a segment now and then"""
    if ask.is_playlist:
        return ask.playlist(0, lines_of(range(6)))
    ask.head(200, **{"Content-Length": "188000"})
    ask.trickle(b"G" * 1000)


@attack()
def trickling_playlist(ask):
    """a byte of a playlist now and then"""
    ask.head(200, **{"Content-Length": "188000"})
    ask.trickle(b"#EXTM3U\n" + b"#\n" * 1000)


@attack()
def silence(ask):
    """no answer at all"""
    while not ask.is_over:
        time.sleep(0.1)


@attack(2)
def redirects_to_neighbours(ask):
    """segments that are redirected to loopback, the exporter and a cloud's metadata"""
    if ask.is_playlist:
        return ask.playlist(ask.loads, lines_of([ask.loads]))
    ask.redirect(ask.rnd.choice([*ask.neighbours(), "http://169.254.169.254/latest/meta-data/", "http://[::1]/"]))


@attack(2)
def names_neighbours(ask):
    """playlists that name loopback, the exporter and a cloud's metadata"""
    spellings = ["http://0x7f.1", "http://2130706433", "http://127.1", "http://[::ffff:127.0.0.1]", "http://localhost"]
    names = ask.neighbours() + [f"{spelling}:{ask.canary}/secret" for spelling in spellings]
    ask.playlist(ask.loads, [f"#EXTINF:1,\n{name}\n" for name in names])


@attack()
def odd_redirects(ask):
    """redirects in circles, and to other protocols"""
    ask.redirect(ask.rnd.choice([
        ask.path, "file:///etc/passwd", "gopher://127.0.0.1/x", "dict://127.0.0.1/stat", "ftp://127.0.0.1/x", "data:text/plain,#EXTM3U",
        "", "//", "http://[", "http:\\\\127.0.0.1\\x", "http://127.0.0.1:99999/x", f"http://good.example@127.0.0.1:{ask.canary}/x", "x" * 60_000]))


@attack()
def gzip_bombs(ask):
    """64 MB in 64 kB"""
    ask.body(ask.bomb, 200, {"Content-Encoding": "gzip"})


@attack()
def resets(ask):
    """a reset in the middle"""
    if ask.is_playlist and ask.loads % 2 == 0:
        return ask.playlist(0, lines_of(range(3)))
    ask.head(200, **{"Content-Length": "188000"})
    ask.send(PACKET * 10)
    ask.reset()


@attack()
def pages(ask):
    """error pages with the status 200"""
    if ask.is_playlist and ask.loads % 3 == 0:
        return ask.playlist(0, lines_of(range(3)))
    ask.body(b"<html><body>try again later</body></html>" * ask.rnd.choice([1, 100]))


@attack()
def wrong_lengths(ask):
    """lengths that are not the body's"""
    if ask.is_playlist and ask.loads % 2 == 0:
        return ask.playlist(0, lines_of(range(3)))
    ask.raw(ask.rnd.choice([
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nG", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nG",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n" + PACKET, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + PACKET,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n" + PACKET,
        b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 9223372036854775807-1/*\r\nContent-Length: 188\r\n\r\n" + PACKET]))


@attack()
def odd_heads(ask):
    """heads without an end, and without sense"""
    ask.raw(ask.rnd.choice([
        b"HTTP/1.1 200 OK\r\n" + (b"X-B: " + b"b" * 60_000 + b"\r\n") * 20, b"HTTP/1.1 100 Continue\r\n\r\n" * 2000, b"GARBAGE\n\n",
        b"HTTP/1.1 99999 \x1b]0;x\x07\r\n\r\n", b"HTTP/2.0 200\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 10_000,
        b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" + b"\0" * 1000,
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"Set-Cookie: c%d=v\r\n" % number for number in range(4000)) + b"\r\n"]))


@attack()
def odd_statuses(ask):
    """each status, and pauses of 10^18 seconds"""
    ask.body(b"no", ask.rnd.choice([204, 301, 304, 400, 401, 403, 404, 408, 410, 416, 429, 451, 500, 503, 599]),
             {"Retry-After": ask.rnd.choice(["1000000000000000000", "-1", "x", "Fri, 31 Dec 9999 23:59:59 GMT"])})


@attack()
def names_for_the_log(ask):
    """names that would break a log"""
    names = ["%0Ats=2026-01-01T00:00:00Z%20level=error%20msg=forged", "%C2%9B31mRED", "%1B]0;x%07", "%E2%80%AEgnp.exe",
             "%E2%80%A8level=error", "%00", "..%2F..%2Fetc%2Fpasswd", "\u202e.ts", "\x1b[31mred.ts"]
    if ask.is_playlist:
        return ask.playlist(ask.loads, [f"#EXTINF:1,\n{name}\n" for name in names])
    ask.body(b"", 404)


@attack()
def floods_of_the_log(ask):
    """60 new hosts of 30 kB with each playlist"""
    ask.playlist(ask.loads * 60, [f"#EXTINF:1,\nhttp://{'a.' * 15_000}{ask.loads}-{number}.invalid/s.ts\n" for number in range(60)])


@attack()
def masters_of_masters(ask):
    """variants that are master playlists"""
    ask.body(MASTER.format(1, f"x{ask.loads}.m3u8").encode())


@attack()
def odd_keys(ask):
    """keys of every length"""
    if ask.is_playlist:
        return ask.playlist(ask.loads, [f'#EXT-X-KEY:METHOD=AES-128,URI="{length}.key"\n#EXTINF:1,\ns{length}.ts\n'
                                        for length in (0, 15, 16, 17, 1_000_000)])
    if ask.path.endswith(".key"):
        return ask.body(b"k" * int(ask.path.split("/")[-1].removesuffix(".key")))
    ask.media(20)


@attack()
def odd_boxes(ask):
    """fragmented MP4 that is none"""
    box = lambda kind, body: struct.pack(">I", len(body) + 8) + kind + body
    if ask.is_playlist:
        return ask.playlist(ask.loads, [f'#EXT-X-MAP:URI="m{ask.loads}.mp4"\n#EXTINF:1,\ns{ask.loads}.m4s\n'])
    ask.body(ask.rnd.choice([
        box(b"ftyp", b"isom") + box(b"moov", b""), box(b"moof", b"") + box(b"mdat", b"xx"), b"\0\0\0\1mdat" + b"\xff" * 8, b"\0\0\0\0moof",
        b"\0\0\0\1ftyp" + struct.pack(">Q", 2**62), os.urandom(3000)]))


class Stream:
    """What one stream of the recorder gets: one attack after the other."""

    def __init__(self, draws, rnd, diary):
        self.draws, self.rnd, self.diary = draws, rnd, diary
        self.lock = threading.Lock()
        self.until, self.entry = 0, None

    def current(self):
        with self.lock:
            now = time.monotonic()
            if now >= self.until:
                if self.entry:
                    self.entry.__exit__(None, None, None)
                with Ask.lock:
                    self.body, self.loads = next(self.draws), -1
                self.until = now + self.rnd.uniform(1.5, 4)
                self.entry = self.diary.entry(deck.kind, self.body)
                self.entry.__enter__()
            return self.body


class Ask(http.server.BaseHTTPRequestHandler):
    """A request, and the ways to answer it."""

    protocol_version = "HTTP/1.1"
    streams, lock = {}, threading.Lock()
    bomb = gzip.compress(b"#\n" * (32 << 20), 6)

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.stream = self.path.split("/")[1]
        if not self.stream.startswith("hostile"):
            return self.body(b"", 404)
        with self.lock:
            if self.stream not in self.streams:
                self.streams[self.stream] = Stream(self.draws, self.random, self.diary)
            source = self.streams[self.stream]
        body = source.current()
        self.rnd, self.until = source.rnd, source.until
        self.is_playlist = self.path.split("?")[0].endswith(".m3u8")
        source.loads += self.is_playlist
        self.loads = source.loads
        try:
            body(self)
        except OSError:
            self.close_connection = True

    @property
    def is_over(self):
        return time.monotonic() > self.until

    def neighbours(self):
        return [f"http://127.0.0.1:{self.exporter}{path}" for path in NEIGHBOURS] + [
            f"http://127.0.0.1:{self.canary}/secret"]

    def head(self, status, **fields):
        self.send_response(status)
        if not fields:
            self.close_connection = True
            fields = {"Connection": "close"}
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()

    def body(self, body, status=200, fields=None):
        self.head(status, **{**(fields or {}), "Content-Length": str(len(body))})
        self.send(body)

    def send(self, data):
        self.wfile.write(data)

    def raw(self, data):
        self.close_connection = True
        self.send(data)

    def reset(self):
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def redirect(self, location):
        self.body(b"", 302, {"Location": location})

    def media(self, packets):
        self.body(PACKET * packets)

    def trickle(self, data):
        for place in range(len(data)):
            if self.is_over:
                self.close_connection = True
                return
            self.send(data[place:place + 1])
            time.sleep(0.2)

    def playlist(self, sequence, entries, target=1):
        text = f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n" + "".join(entries)
        self.body(text.encode())


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


def main():
    address, port, seed, diary, exporter, canary = sys.argv[1:]
    Ask.diary, Ask.exporter, Ask.canary = Diary(diary), exporter, canary
    Ask.random = random.Random(f"{seed}/{deck.kind}")
    Ask.draws = deck.draws(Ask.random)
    server = Server((address, int(port)), Ask)
    print("listening", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
