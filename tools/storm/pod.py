"""A pod: a recorder and its exporter, which may both come and go, on directories that stay."""

import datetime
import json
import re
import signal
import time
import urllib.error

from faults.bench import Bench, Recorder
from harness import Program, await_exit, fetch, free_port, kill, status_field, wait_for

from .prometheus import parse
from .sources import COMMAND_STREAMS, HLS_STREAM, STREAMS

PATIENCE = 120  # Seconds until a process or a page is given up.
SYNC_INTERVAL = 1.0
DISK = "48m"


def stamp(line):
    """The time in a line of a log."""
    text = re.search(r"ts=(\S+)", line).group(1)
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Run(Recorder):
    """A run of the recorder."""

    def __init__(self, pod, wrapper=()):
        self.viewer = pod.viewer()
        self.number = len(pod.runs)
        super().__init__(pod, wrapper)
        self.signalled_at = self.exited_at = None
        self.cut_at = None  # When it was stopped, before anything else ended it.
        self.held = {}  # Seconds for which a phase was held up.
        self.delivered = None  # Bytes that its pipes had taken, once that is noted.
        pod.runs.append(self)

    def await_recording(self):
        def is_recording():
            if self.process.poll() is not None:
                raise AssertionError(f"ended at its start: {self.log}")
            return self.log.count("Recording started") >= len(self.streams)

        wait_for("all recordings", is_recording, PATIENCE)

    def tell(self, number):
        """Sends a signal, and notes when the first was sent."""
        self.signalled_at = self.signalled_at or time.time()
        self.process.send_signal(number)

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)
        wait_for("the stop", lambda: self.process.poll() is not None or status_field(self.pid, "State") == "T", PATIENCE)

    def await_end(self, seconds=PATIENCE):
        status = await_exit(self.process, seconds)
        self.exited_at = time.time()
        return status

    def note_deliveries(self):
        """Notes what the sources have delivered; what comes later, nobody could record."""
        if self.delivered is None:
            counts = {stream: self.bench.base / f"{stream}.count" for stream in COMMAND_STREAMS}
            self.delivered = {stream: int(path.read_text() or 0) for stream, path in counts.items() if path.exists()}


class Pod(Bench):
    """What outlives the processes: the directories, and what is known of the runs."""

    def __init__(self, base, name, address, storm):
        super().__init__(base, storm.sample.path)
        self.name, self.address, self.storm = name, address, storm
        self.mount(self.recordings, DISK)
        self.segment = self.telemetry / "cam.telemetry"
        self.created_at = time.time()
        self.runs = []
        self.exporter = None
        self.exporters = 0

    def launch(self, command, **options):
        process = self.storm.processes.start(command, **options)
        self.programs.append(process)
        return process

    def viewer(self):
        return f"{self.name}-{len(self.runs)}"

    def start_recorder(self, grace, deaf=(), wrapper=(), **fields):
        streams = [self.stream(name, self.storm.sample.rate, name in deaf) for name in COMMAND_STREAMS]
        streams.append({"name": HLS_STREAM, "source": {"type": "hls", "url": self.storm.origin.url(self.viewer())}})
        for path in self.base.glob("*.count"):
            path.unlink()
        self.configure(streams, grace, sync_interval=f"{SYNC_INTERVAL:g}s", **fields)
        run = Run(self, wrapper)
        run.streams = STREAMS
        return run

    def start_exporter(self, address=None, *flags):
        self.exporters += 1
        return Program("exporter", f"--telemetry-dir={self.telemetry}", *flags, f"--web.listen-address={address or self.address}",
                       log=self.base / f"exporter-{self.exporters}.log", start=self.launch)

    def ensure_exporter(self):
        if self.exporter is None:
            self.exporter = self.start_exporter(None, "--termination-grace-period=100s")

    def kill_exporter(self):
        if self.exporter:
            kill(self.exporter.process)
            self.exporter = None

    def page(self, path="/metrics", address=None):
        return fetch(f"http://{address or self.address}{path}")

    def last_word(self):
        """What an exporter shows that comes later: every series of the recorder, and its history."""
        address = f"127.0.0.1:{free_port()}"
        with self.start_exporter(address):
            page = wait_for("the final state", lambda: self.answer("/metrics", address), PATIENCE)
            [recorder] = json.loads(self.page("/shutdowns", address))["recorders"]
            return parse(page), [(one["outcome"], one["fatal_phase"]) for one in recorder["shutdowns"]]

    def answer(self, path, address=None):
        """What an exporter answers; nothing while it does not."""
        try:
            return self.page(path, address)
        except OSError:
            return ""

    def is_hung(self):
        try:
            return not self.page("/health")
        except urllib.error.HTTPError as error:
            return "hung" in error.read().decode()
        except OSError:
            return False

    def parts(self):
        """The files that are not finished, as the kernel knows them: a name that is free again may be taken by another."""
        return {path.name: path.stat() for path in self.files(".part")}
