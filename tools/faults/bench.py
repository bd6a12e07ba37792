"""A recorder under test: its directory, its sources, its faults, and what is true of its files and rows afterwards."""

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
import urllib.request

TOOLS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOOLS))
from programs import program  # noqa: E402

PATIENCE = 30
SAMPLE_SECONDS = 100
PACKET = 188
SHORTEST_MEDIA = 100_000


def until(what, condition, seconds=PATIENCE):
    """Waits for a value that is true; an assertion fails when none comes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def run(*arguments):
    done = subprocess.run([str(one) for one in arguments], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


class Recorder:
    """A running recorder; ended with its bench."""

    def __init__(self, bench, wrapper=(), environment=None):
        self.bench = bench
        self.is_ready = False
        self.output = bench.base / f"recorder-{len(bench.programs)}.log"
        command = [*wrapper, program("recorder"), "--config", str(bench.config)]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                                            cwd=bench.base, env={**os.environ, **(environment or {})})
        bench.programs.append(self.process)

    @property
    def log(self):
        return self.output.read_text(errors="replace")

    def line(self, text, seconds=PATIENCE):
        def found():
            line = next((line for line in self.log.splitlines() if text in line), None)
            if not line and self.process.poll() is not None:
                raise AssertionError(f"ended without {text!r}:\n{self.log}")
            return line

        return until(f"{text!r} in the log", found, seconds)

    def active(self):
        """The recordings under way; none, as long as the recorder takes up what earlier runs left."""
        listen = next(word for word in self.line("listen=").split() if word.startswith("listen="))
        url = f"http://{listen.removeprefix('listen=')}/api/recording/active"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                self.is_ready = True
                return json.load(answer)
        except urllib.error.HTTPError as error:
            assert error.code == 503, error
            return []

    def recording(self, count=1):
        """Waits until so many recordings have a second of media in them; their paths."""
        def paths():
            return [one["file_path"] for one in self.active() if one["bytes"] > 300_000]

        return until(f"{count} recordings", lambda: len(found := paths()) == count and found)

    def send(self, number):
        self.signalled = time.monotonic()
        self.process.send_signal(number)

    def end(self, seconds=PATIENCE):
        """Waits for the end; the exit status and the seconds since the last signal.

        A process that is traced stays a zombie until the tracer lets its threads go, so that is ended then.
        """
        until("the end", lambda: self.process.poll() is not None or self.state("State")[0] == "Z", seconds)
        took = time.monotonic() - getattr(self, "signalled", time.monotonic())
        while self.process.poll() is None:
            for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
                tracer = int(self.state("TracerPid", task))
                with contextlib.suppress(ProcessLookupError):
                    if tracer:
                        os.kill(tracer, signal.SIGKILL)
            time.sleep(0.02)
        return self.process.returncode, took

    def state(self, field, task=None):
        """A field of the kernel's status of the process, or of one of its threads."""
        task = task or pathlib.Path(f"/proc/{self.process.pid}")
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return (task / "status").read_text().split(f"{field}:")[1].split()[0]
        return "0"

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

    def close(self):
        for process in reversed(self.programs):
            if process.poll() is None:
                process.kill()
                process.wait()
        for mount in self.mounts:
            run("umount", "-l", mount)

    def mount(self, directory, size):
        """A small disk of memory."""
        status, text = run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", directory)
        assert status == 0, text
        self.mounts.append(directory)

    def stream(self, name, rate=500_000, deaf=False, **fields):
        pacer = [sys.executable, "-IS", str(TOOLS / "faults" / "pacer.py"), str(self.sample), str(rate), str(self.base / f"{name}.count")]
        return {"name": name, "source": {"type": "command", "argv": pacer + (["deaf"] if deaf else [])}, **fields}

    def configure(self, streams, grace="8s", **fields):
        self.config.write_text(json.dumps({
            "name": "cam",
            "recordings_dir": str(self.recordings),
            "telemetry_dir": str(self.telemetry),
            "web": {"listen_address": ["127.0.0.1:0"]},
            "log": {"file": str(self.log_file)},
            "sync_interval": "500ms",
            "shutdown": {"grace_period": grace},
            "streams": streams,
            **fields,
        }))

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
        tasks = pathlib.Path(f"/proc/{recorder.process.pid}/task")
        until("strace of all threads", lambda: all(
            recorder.state("TracerPid", task) == str(tracer.pid) for task in tasks.iterdir()))
        yield tracer
        tracer.kill()  # Politely asked, it would wait for the call that it holds up.
        tracer.wait()

    def files(self, suffix):
        return sorted(path for path in self.recordings.iterdir() if path.name.endswith(suffix))

    def metrics(self):
        """What an exporter shows: {'name{label="value"}': number}, without the label of the recorder."""
        output = self.base / "exporter.log"
        with output.open("wb") as log:
            exporter = subprocess.Popen(
                [program("exporter"), "--telemetry-dir", str(self.telemetry), "--web.listen-address", "127.0.0.1:0"],
                stdout=log, stderr=log)
        try:
            text = until("the exporter", lambda: next(
                (word for word in output.read_text().split() if word.startswith("listen=")), None))
            with urllib.request.urlopen(f"http://{text.removeprefix('listen=')}/metrics", timeout=10) as answer:
                page = answer.read().decode()
        finally:
            exporter.kill()
            exporter.wait()
        samples = (line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        plain = {name.replace('recorder="cam",', "").replace('{recorder="cam"}', ""): float(value) for name, value in samples}
        return {name.removeprefix("streamvault_"): value for name, value in plain.items()}

    def rows(self, query):
        with contextlib.closing(sqlite3.connect(self.recordings / "catalogue.sqlite")) as database:
            return database.execute(query).fetchall()


def decodes(path):
    """Decodes all but the end of the file with ffmpeg, which must find nothing wrong in it; the seconds that it plays.

    A stop cuts the last frame in two: its first packets are whole, and kept, but a decoder complains of it.
    """
    _, text = run("ffprobe", "-v", "error", "-f", "mpegts", "-show_entries", "format=duration", "-of", "csv=p=0", path)
    seconds = float(text)
    status, text = run("ffmpeg", "-v", "error", "-xerror", "-threads", "1", "-f", "mpegts", "-i", path,
                       "-t", max(0.04, seconds - 0.2), "-f", "null", "-")
    assert status == 0 and not text, f"{path}, {seconds} s: {text}"
    return seconds


def plays(path):
    """Decodes a file that is long enough for a frame; a shorter one must be of whole packets."""
    size = os.path.getsize(path)
    assert size > 0 and size % PACKET == 0, f"{path}: {size} bytes"
    if size >= SHORTEST_MEDIA:
        assert decodes(path) > 0


def make_sample(path):
    """A picture in a transport stream, long enough for any test."""
    status, text = run(
        "ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=size=640x360:rate=25:duration={SAMPLE_SECONDS}",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-f", "mpegts", path)
    assert status == 0, text
    assert os.path.getsize(path) > 12_000_000


def check_files_and_rows(bench):
    """What must hold whenever no recorder runs: sound database, whole files, rows that agree with them."""
    check_rows(bench)
    for path in bench.files(".ts"):
        plays(path)


def check_rows(bench):
    """The same without a look into the files."""
    assert bench.rows("PRAGMA integrity_check") == [("ok",)]
    assert bench.rows("PRAGMA foreign_key_check") == []
    open_rows = bench.rows("SELECT count(*) FROM recordings WHERE status IN ('recording', 'abandoned')")
    assert open_rows == [(0,)], f"open recordings: {open_rows}"
    finished = {pathlib.Path(path).name: size for path, size in bench.rows(
        "SELECT path, bytes FROM parts WHERE status = 'finished' AND container = 'ts'")}
    stored = {path.name: path.stat().st_size for path in bench.files(".ts")}
    apart = finished.items() ^ stored.items()
    assert not apart, f"rows and files that have no equal: {sorted(apart)}"
    assert not bench.files(".part"), bench.files(".part")
