"""Who comes and goes during the soak: recorders, their recordings, a live stream, a guest on the ingest socket."""

import collections
import contextlib
import http.server
import itertools
import json
import signal
import socket
import sqlite3
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import (  # noqa: E402
    Program, command_stream, fetch, free_port, hls_stream, picture, wait_for, write_configuration,
)

PATIENCE = 60
TOKEN = "soak"
SWITCHED = ["live", "one", "two", "three"]
# Delivers so many seconds of media, then ends by itself.
PROGRAMME = 'n=0; while [ $n -lt "$1" ]; do cat "$0" || exit; n=$((n + 1)); sleep 1; done'


class Origin:
    """A live HLS stream without an end: a picture of some seconds, again and again."""

    def __init__(self, folder, seconds):
        folder.mkdir()
        picture(folder / "all.m3u8", seconds, options=["-sc_threshold", 0],
                form=["-f", "hls", "-hls_time", 1, "-hls_list_size", 0, "-hls_segment_filename", folder / "%d.ts"])
        self.segments = [(folder / f"{number}.ts").read_bytes() for number in range(seconds)]
        self.started = time.monotonic()
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = origin.playlist() if "m3u8" in self.path else origin.segment(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # A viewer that is killed.
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/live.m3u8"

    def playlist(self):
        last = 5 + int(time.monotonic() - self.started)
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{last - 5}",
                 f"#EXT-X-DISCONTINUITY-SEQUENCE:{(last - 6) // len(self.segments)}"]
        for number in range(last - 5, last):
            lines += ["#EXT-X-DISCONTINUITY"] if number % len(self.segments) == 0 else []
            lines += ["#EXTINF:1.0,", f"{number}.ts"]
        return ("\n".join(lines) + "\n").encode()

    def segment(self, path):
        return self.segments[int(Path(path).stem) % len(self.segments)]


class Recorder:
    """A recorder with its directories, started as often as one likes; keeps count of how its runs ended."""

    def __init__(self, folder, telemetry, name, origin, retention):
        self.folder = folder / name
        self.folder.mkdir()
        self.name, self.address = name, f"127.0.0.1:{free_port()}"
        self.recordings = self.folder / "recordings"
        self.segment = telemetry / f"{name}.telemetry"
        self.starts, self.ends = 0, collections.Counter()
        self.switches = collections.Counter()
        self.process = None
        media = self.folder / "media.ts"
        media.write_bytes(origin.segments[0])
        (self.folder / "token").write_text(TOKEN)
        streams = [
            # Retention removes only finished recordings: all of these end or are switched off, and need no `split_after`.
            hls_stream("live", origin.url, record="on_demand"),
            *(self.programme(name, media, 1000, record="on_demand") for name in SWITCHED[1:]),
            self.programme("short", media, 12),
            self.programme("long", media, 30),
        ]
        self.config = write_configuration(
            self.folder, streams, name=name, telemetry_dir=str(telemetry), resume_within="1s", retention=retention,
            web={"listen_address": [self.address], "bearer_token_file": str(self.folder / "token")})

    def programme(self, name, media, seconds, **fields):
        return command_stream(name, "sh", "-c", PROGRAMME, media, seconds, **fields)

    @property
    def catalogue(self):
        return [self.recordings / f"catalogue.sqlite{suffix}" for suffix in ("", "-wal", "-shm")]

    def media(self):
        return [path for path in self.recordings.iterdir() if ".ts" in path.name]

    def recorded(self):
        """How many recordings the catalogue knows, also those that retention has removed."""
        with contextlib.closing(sqlite3.connect(self.catalogue[0])) as database:
            return database.execute("SELECT count(*) FROM recordings").fetchone()[0]

    def start(self):
        self.starts += 1
        self.process = Program("recorder", "--config", self.config, log=self.folder / f"run-{self.starts % 4}.log").process
        wait_for(f"the API of {self.name}", self.active, PATIENCE)

    def active(self):
        """What is recorded now, as text; nothing while the recorder cannot say so."""
        with contextlib.suppress(urllib.error.HTTPError):
            return fetch(f"http://{self.address}/api/recording/active")

    def end(self, number):
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        self.ends["crashed" if number == signal.SIGKILL else {0: "clean", 1: "degraded"}[status]] += 1

    def switch(self, stream, action):
        """Switches a stream on or off; a recorder that is not there, or is about to go, is not asked again."""
        url = f"http://{self.address}/api/recording/{action}/{stream}"
        request = urllib.request.Request(url, method="POST", headers={"Authorization": f"Bearer {TOKEN}"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                self.switches[answer.status] += 1
        except urllib.error.HTTPError as error:
            assert error.code == 503, f"{action} {stream}: {error.code}"
        except (urllib.error.URLError, ConnectionError):
            pass

    def switch_until(self, over):
        """One stream every two seconds, on and off in turn."""
        for number in itertools.count():
            if over.wait(2):
                return
            turn, index = divmod(number, len(SWITCHED))
            self.switch(SWITCHED[index], "stop" if turn % 2 else "start")

    def restart_until(self, over, every, about_to_end):
        """Ends it again and again, politely and by SIGKILL in turn."""
        for number in itertools.cycle((signal.SIGTERM, signal.SIGKILL)):
            if over.wait(every):
                return
            about_to_end()
            self.end(number)
            self.start()


class Guest:
    """A process on the exporter's ingest socket that lives for half a second, and ends in every way, in turn."""

    WAYS = ["clean", "degraded", "killed", "crashed"]

    def __init__(self, path):
        self.name, self.path = "guest", str(path)
        self.starts, self.ends = 0, collections.Counter()

    def live_until(self, over):
        for end in itertools.cycle(self.WAYS):
            if over.wait(0.5):
                return
            with socket.socket(socket.AF_UNIX) as self.connection:
                self.connection.settimeout(PATIENCE)
                self.connection.connect(self.path)
                self.begin()
                for turn in range(5):
                    over.wait(0.1)
                    self.work(turn)
                self.end(end)
            self.ends[end] += 1

    def begin(self):
        phases = [{"name": "upload", "budget": 5}]
        self.say("hello", name=self.name, heartbeat_interval=1, phases=phases, ack=True)
        answer = json.loads(self.connection.makefile("rb").readline())
        assert answer.get("ok"), f"hello: {answer}"
        self.starts += 1
        self.say("declare", metric="counter", name="guest_turns_total", help="Turns.", labels=["kind"])
        self.say("declare", metric="histogram", name="guest_turn_seconds", help="Turns.", unit="seconds")
        self.say("recording_started", id=self.starts, stream="guest")

    def work(self, turn):
        self.say("add", name="guest_turns_total", labels={"kind": "odd" if turn % 2 else "even"}, value=1)
        self.say("observe", name="guest_turn_seconds", value=0.1)
        self.say("recording_progress", id=self.starts, bytes=turn * 1000)

    def end(self, end):
        """What it says before it goes: nothing when it crashes."""
        if end != "crashed":
            self.say("shutdown_begin", signal=15, grace_period=10)
        if end in ("clean", "degraded"):
            self.say("recording_ended", id=self.starts, result="interrupted")
            self.say("phase_end", outcome={"clean": "ok", "degraded": "timeout"}[end])
            self.say("goodbye", exit_status=0)

    def say(self, kind, **fields):
        self.connection.sendall(json.dumps({"type": kind, **fields}).encode() + b"\n")
