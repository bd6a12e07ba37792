"""A thousand pods: an exporter each, with an address of its own, and all their recorders in one process."""

import collections
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import ROOT, Program, command_stream, free_port, program, write_configuration  # noqa: E402

PORT = free_port()  # On every address; an exporter's own may be taken by one that listens on all.
PATIENCE = 120
SECONDS_TO_TEAR_DOWN = 1
FLEET = Path(os.environ.get("STREAMVAULT_FLEET", ROOT / ".build" / "release" / "Fleet"))


def make_template(folder):
    """The segment of a real recorder that has declared its metrics and stopped."""
    stream = command_stream("none", "true", record="on_demand")
    config = write_configuration(folder, [stream], name="template", telemetry_dir=str(folder / "template"))
    with Program("recorder", "--config", config, log=folder / "template.log") as recorder:
        recorder.line("listen=", PATIENCE)
        assert recorder.stop(seconds=PATIENCE) == 0, recorder.log
    return folder / "template" / "template.telemetry"


class Recorders:
    """The process in which all recorders live."""

    def __init__(self, template, processes):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self.process = processes.start([FLEET, template], **pipes)
        self.ended = {}
        self.lock = threading.Lock()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.ended.pop(line.split()[1]).set()

    def say(self, *words):
        with self.lock:
            self.process.stdin.write(" ".join(str(word) for word in words) + "\n")

    def start(self, pod):
        self.say("start", pod.directory, pod.name)

    def stop(self, pod, end, seconds):
        """Waits until the recorder is gone."""
        over = self.ended[str(pod.directory)] = threading.Event()
        self.say("stop", pod.directory, end, f"{seconds:.3f}")
        assert over.wait(PATIENCE), f"{pod.name} has not ended"


class Pod:
    """One of a StatefulSet's: its name stays, its address and its telemetry are new each time."""

    def __init__(self, cluster, number, generation):
        self.cluster, self.number, self.generation = cluster, number, generation
        self.name = f"streamvault-{number}"
        self.address = f"127.{1 + generation}.{number >> 8}.{number & 255}:{PORT}"
        self.directory = cluster.telemetry / f"{self.name}.{generation}"
        self.exporter = None

    @property
    def target(self):
        return {"targets": [self.address], "labels": {"namespace": "live", "pod": self.name}}

    def start(self):
        self.directory.mkdir()
        self.cluster.recorders.start(self)
        self.exporter = self.cluster.processes.start(
            [program("exporter"), "--telemetry-dir", self.directory, "--web.listen-address", self.address],
            stdout=self.cluster.log, stderr=self.cluster.log)

    def stop(self, end, seconds):
        """With a native sidecar: the exporter is told to leave when the recorder is gone."""
        self.cluster.recorders.stop(self, end, seconds)
        self.exporter.send_signal(signal.SIGTERM)
        assert self.exporter.wait(PATIENCE) == 0, f"{self.name}: exporter {self.exporter.returncode}"

    def crash(self):
        """The recorder dies, and starts again in the same pod."""
        self.cluster.recorders.stop(self, "crashed", 0)
        time.sleep(SECONDS_TO_TEAR_DOWN)
        self.cluster.recorders.start(self)


class Cluster:
    """All pods, and the list of them that Prometheus reads."""

    def __init__(self, folder, telemetry, processes):
        self.telemetry, self.processes = telemetry, processes
        self.targets = folder / "targets.json"
        self.log_path = folder / "exporters.log"
        self.log = open(self.log_path, "ab")
        self.recorders = Recorders(make_template(folder), processes)
        self.pods = {}

    def start(self, count):
        for number in range(count):
            self.pods[number] = Pod(self, number, 0)
            self.pods[number].start()
        self.publish()

    def publish(self):
        new = self.targets.with_suffix(".new")
        new.write_text(json.dumps([pod.target for pod in self.pods.values() if pod]))
        new.rename(self.targets)

    def replace(self, number, end, seconds):
        """One pod's part in a rollout."""
        pod = self.pods[number]
        pod.stop(end, seconds)
        self.pods[number] = None
        shutil.rmtree(pod.directory)
        time.sleep(SECONDS_TO_TEAR_DOWN)
        following = Pod(self, number, pod.generation + 1)
        following.start()
        self.pods[number] = following

    def departures(self):
        """How the exporters that have left say why: {reason: how many}."""
        return collections.Counter(re.findall(r'msg=Exiting reason="?([a-z ]+)', self.log_path.read_text()))

    def resident_mebibytes(self):
        """Of all exporters together; memory that they share counts once."""
        total = 0
        for pod in filter(None, self.pods.values()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                text = Path(f"/proc/{pod.exporter.pid}/smaps_rollup").read_text()
                total += int(text.split("\nPss:")[1].split()[0])
        return total / 1024

    def close(self):
        self.log.close()
