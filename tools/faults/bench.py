"""A recorder under test: its directory, sources and faults, and checks of its files and rows afterwards."""

import contextlib
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error

TOOLS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOOLS))
from harness import (  # noqa: E402
    PACKET_BYTES, Program, await_tracer, command_stream, duration, fetch, kill, picture, run, samples, status_field, wait_for,
    write_configuration,
)

PATIENCE = 30
SAMPLE_SECONDS = 100
SHORTEST_MEDIA = 100_000


class Recorder(Program):
    """A running recorder; ended with its bench."""

    def __init__(self, bench, wrapper=(), environment=None):
        self.bench = bench
        self.is_ready = False
        super().__init__("recorder", "--config", bench.config, log=bench.base / f"recorder-{len(bench.programs)}.log",
                         wrapper=wrapper, start=bench.launch, cwd=bench.base, env={**os.environ, **(environment or {})})

    def active(self):
        """The recordings in progress; none while the recorder recovers what earlier runs left."""
        try:
            active = json.loads(fetch(f"{self.url}/api/recording/active"))
            self.is_ready = True
            return active
        except urllib.error.HTTPError as error:
            assert error.code == 503, error
            return []

    def recording(self, count=1):
        """Waits until so many recordings have a second of media in them; their paths."""
        def paths():
            return [one["file_path"] for one in self.active() if one["bytes"] > 300_000]

        return wait_for(f"{count} recordings", lambda: len(found := paths()) == count and found)

    def send(self, number):
        self.signalled = time.monotonic()
        self.process.send_signal(number)

    def end(self, seconds=PATIENCE):
        """Waits for the end; the exit status and the seconds since the last signal.

        A process that is traced stays a zombie until the tracer lets its threads go, so that is ended then.
        """
        wait_for("the end", lambda: self.process.poll() is not None or status_field(self.pid, "State") == "Z", seconds)
        took = time.monotonic() - getattr(self, "signalled", time.monotonic())
        while self.process.poll() is None:
            for thread in os.listdir(f"/proc/{self.pid}/task"):
                tracer = int(status_field(self.pid, "TracerPid", thread))
                with contextlib.suppress(ProcessLookupError):
                    if tracer:
                        os.kill(tracer, signal.SIGKILL)
            time.sleep(0.02)
        return self.process.returncode, took

    def stop(self, number=signal.SIGTERM):
        self.send(number)
        return self.end()


class Bench:
    """A directory with all that belongs to one recorder; everything goes when it is closed."""

    def __init__(self, base, sample):
        self.base = pathlib.Path(base)
        self.sample = sample
        self.recordings = self.base / "recordings"
        self.telemetry = self.base / "telemetry"
        self.config = self.base / "recorder.json5"
        self.log_file = self.base / "recorder.log"
        self.programs = []
        self.mounts = []
        for directory in (self.recordings, self.telemetry):
            directory.mkdir(parents=True)

    def launch(self, command, **options):
        """Starts a program that ends with the bench."""
        process = subprocess.Popen(command, **options)
        self.programs.append(process)
        return process

    def close(self):
        for process in reversed(self.programs):
            kill(process)
        for mount in self.mounts:
            run("umount", "-l", mount)

    def mount(self, directory, size):
        """A small disk of memory."""
        status, text = run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", directory)
        assert status == 0, text
        self.mounts.append(directory)

    def stream(self, name, rate=500_000, deaf=False, **fields):
        pacer = [sys.executable, "-IS", TOOLS / "faults" / "pacer.py", self.sample, rate, self.base / f"{name}.count"]
        return command_stream(name, *pacer, *(["deaf"] if deaf else []), **fields)

    def configure(self, streams, grace="8s", **fields):
        write_configuration(self.base, streams, **{
            "telemetry_dir": str(self.telemetry), "log": {"file": str(self.log_file)}, "sync_interval": "500ms",
            "shutdown": {"grace_period": grace}, **fields})

    def start(self, streams=None, wrapper=(), **fields):
        if streams is not None:
            self.configure(streams, **fields)
        recorder = Recorder(self, wrapper)
        recorder.line("listen=")
        return recorder

    def strace(self, path, calls, injection, output="/dev/null"):
        """A command that injects a fault into system calls on `path`, whether its name is given in full or from the base."""
        names = [str(path), os.path.relpath(path, self.base)] if path else []
        return ["strace", "-f", "--quiet=attach,path-resolution", "-o", str(output),
                "-e", f"trace={calls}", "-e", f"inject={calls}:{injection}", *(word for name in names for word in ("-P", name))]

    @contextlib.contextmanager
    def fault(self, recorder, path, calls, injection, output="/dev/null"):
        """Injects a fault into system calls on `path`, from now to the end of the block."""
        tracer = subprocess.Popen([*self.strace(path, calls, injection, output), "-p", str(recorder.process.pid)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.programs.append(tracer)
        await_tracer(recorder.pid, tracer.pid)
        yield tracer
        tracer.kill()  # SIGTERM would wait for the call that it delays.
        tracer.wait()

    def files(self, suffix):
        return sorted(path for path in self.recordings.iterdir() if path.name.endswith(suffix))

    def metrics(self):
        """The page of an exporter: {'name{label="value"}': number}, without the label of the recorder."""
        with Program("exporter", "--telemetry-dir", self.telemetry, "--web.listen-address", "127.0.0.1:0",
                     log=self.base / "exporter.log") as exporter:
            page = fetch(f"{exporter.url}/metrics")
        found = {}
        for name, labels, value in samples(page):
            text = ",".join(f'{key}="{label}"' for key, label in labels.items() if (key, label) != ("recorder", "cam"))
            found[name.removeprefix("streamvault_") + (f"{{{text}}}" if text else "")] = value
        return found

    def rows(self, query):
        with contextlib.closing(sqlite3.connect(self.recordings / "catalogue.sqlite")) as database:
            return database.execute(query).fetchall()


def decodes(path):
    """Decodes all but the end of the file with ffmpeg, which must report no error; the seconds that it plays.

    A stop cuts the last frame in two: the file keeps its first packets, about which a decoder complains.
    """
    seconds = duration(path, "-f", "mpegts")
    status, text = run("ffmpeg", "-v", "error", "-xerror", "-threads", "1", "-f", "mpegts", "-i", path,
                       "-t", max(0.04, seconds - 0.2), "-f", "null", "-")
    assert status == 0 and not text, f"{path}, {seconds} s: {text}"
    return seconds


def plays(path):
    """Decodes a file that is long enough for a frame; a shorter one must be of whole packets."""
    size = os.path.getsize(path)
    assert size > 0 and size % PACKET_BYTES == 0, f"{path}: {size} bytes"
    if size >= SHORTEST_MEDIA:
        assert decodes(path) > 0


def make_sample(path):
    """A picture in a transport stream, long enough for any test."""
    picture(path, SAMPLE_SECONDS, size="640x360")
    assert os.path.getsize(path) > 12_000_000


def check_files_and_rows(bench):
    """Checks what must hold whenever no recorder runs: an intact database, complete files, and rows that agree with them."""
    check_rows(bench)
    for path in bench.files(".ts"):
        plays(path)


def check_rows(bench):
    """The same without decoding the files."""
    assert bench.rows("PRAGMA integrity_check") == [("ok",)]
    assert bench.rows("PRAGMA foreign_key_check") == []
    open_rows = bench.rows("SELECT count(*) FROM recordings WHERE status IN ('recording', 'abandoned')")
    assert open_rows == [(0,)], f"open recordings: {open_rows}"
    finished = {pathlib.Path(path).name: size for path, size in bench.rows(
        "SELECT path, bytes FROM parts WHERE status = 'finished' AND container = 'ts'")}
    stored = {path.name: path.stat().st_size for path in bench.files(".ts")}
    apart = finished.items() ^ stored.items()
    assert not apart, f"rows without a file or files without a row: {sorted(apart)}"
    assert not bench.files(".part"), bench.files(".part")
