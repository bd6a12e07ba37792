#!/usr/bin/env python3
"""What the liveness probe of k8s/ does to a recorder that is well, that finalizes and that hangs, in every state of the exporter.

The real programs run under a kubelet of our own, which reads the manifest. Cases run side by side.
"""

import concurrent.futures
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from kubelet import Container  # noqa: E402
from harness import (  # noqa: E402
    PACKETS, ROOT, Report, await_tracer, command_stream, free_port, program, wait_for, write_configuration,
)

STEADY = 'while cat "$0"; do sleep 0.05; done'
# Seconds for which the last fsync of a file hangs: the phase that finalizes may take 30.
HELD_SECONDS = 20
# About a minute, and a margin for a busy machine.
RESTART_SECONDS = 75
# An hour of an exporter that crashes is half a minute here, and liveness is asked as often as in an hour.
SPEED = 120
HOUR = 3600 / SPEED

report = Report()


def expect(holds, problem):
    report.expect(holds, problem[:2000])


class Pod:
    """Recorder and exporter, each under its kubelet."""

    def __init__(self, folder, speed):
        manifest = yaml.safe_load((ROOT / "k8s" / "base" / "statefulset.yaml").read_text())
        spec = manifest["spec"]["template"]["spec"]
        self.folder = folder
        self.ports = {8000: free_port(), 9847: free_port()}
        packets = folder / "packets.ts"
        packets.write_bytes(PACKETS)
        config = write_configuration(
            folder, [command_stream("gate", "sh", "-c", STEADY, packets)], sync_interval="60s",
            web={"listen_address": [f"127.0.0.1:{self.ports[8000]}"]})
        grace = spec["terminationGracePeriodSeconds"]
        self.exporter = Container(
            spec["initContainers"][0],
            [program("exporter"), f"--telemetry-dir={folder}/telemetry", f"--web.listen-address=127.0.0.1:{self.ports[9847]}"],
            self.ports, grace, folder / "exporter.log", speed)
        self.recorder = Container(
            spec["containers"][0],
            [program("recorder"), f"--config={config}", "--shutdown.grace-period=60s"],
            self.ports, grace, folder / "recorder.log", speed)

    def start(self):
        self.exporter.start()
        self.recorder.start()
        wait_for("a recording", lambda: self.recorded_bytes() > 0, 60)
        wait_for("a probe that succeeded", lambda: self.recorder.times("ready"), 60)
        return self

    def files(self, suffix):
        return sorted((self.folder / "recordings").glob(f"*{suffix}"))

    def recorded_bytes(self):
        return sum(file.stat().st_size for file in self.files(".part") + self.files(".ts"))

    def crash_loop(self):
        """From now on the exporter dies as soon as it runs."""
        def run():
            while not self.exporter.ended.wait(0.02):
                self.exporter.kill()
        threading.Thread(target=run, daemon=True).start()

    def close(self):
        status = self.recorder.close()
        self.exporter.close()
        return status


def crash_looping_exporter(pod):
    """An hour of it costs nothing: one recorder, one recording."""
    pod.crash_loop()
    deadline = time.monotonic() + HOUR
    while time.monotonic() < deadline:
        before = pod.recorded_bytes()
        wait_for("more media", lambda: pod.recorded_bytes() > before, 20)
    crashes = len(pod.exporter.times("ended"))
    expect(crashes >= 12, f"the exporter crashed {crashes} times only")
    expect(pod.recorder.times("restart") == [], f"the exporter's crashes restarted the recorder: {pod.recorder.events}")
    expect(len(pod.recorder.times("started")) == 1, f"the recorder was started again: {pod.recorder.events}")
    expect(pod.close() == 0, "the recorder did not end well")
    expect(len(pod.files(".ts")) == 1 and not pod.files(".part"), f"not one recording: {pod.files('')}")
    return f"{crashes} crashes of the exporter, no restart of the recorder"


def hang(pod, how):
    process = pod.recorder.process
    if how == "frozen":
        process.send_signal(signal.SIGSTOP)
        return None
    helper = subprocess.Popen([sys.executable, HERE / "stop_main_thread.py", str(process.pid)], stdout=subprocess.PIPE, text=True)
    if helper.stdout.readline() != "stopped\n":
        raise RuntimeError("the main thread was not stopped")
    return helper


def restarted(pod, how):
    """A recorder that hangs is replaced within about a minute."""
    helper = hang(pod, how)
    hung = time.monotonic() - pod.recorder.began
    wait_for("the restart", lambda: len(pod.recorder.times("ready")) == 2, 180)
    [_, again] = pod.recorder.times("ready")
    seconds = again - hung
    [signalled] = pod.recorder.times("restart") or [float("nan")]
    expect(seconds <= RESTART_SECONDS, f"{how}: answered again after {seconds:.0f} s: {pod.recorder.events}")
    if helper:
        helper.wait(10)
        log = pod.recorder.log.read_text()
        expect("Main loop stood still" in log and 'recordings=finalized' in log, f"{how}: not finalized: {log}")
        expect(pod.recorder.times("SIGKILL") == [], f"{how}: needed SIGKILL")
    wait_for("the next recording", lambda: pod.files(".part"), 60)
    expect(len(pod.files(".ts")) == 1, f"{how}: the recording of before is not there: {pod.files('')}")
    pod.close()
    return f"SIGTERM after {signalled - hung:.1f} s, answers again after {seconds:.1f} s"


def frozen(pod):
    return restarted(pod, "frozen")


def frozen_without_exporter(pod):
    pod.crash_loop()
    return restarted(pod, "frozen")


def main_loop_hangs(pod):
    return restarted(pod, "main loop")


def main_loop_hangs_without_exporter(pod):
    pod.crash_loop()
    return restarted(pod, "main loop")


def main_loop_hangs_without_probes(pod):
    """As under Compose and systemd, where nobody acts on a probe: the recorder ends itself."""
    pod.recorder.ask = lambda probe: None
    return restarted(pod, "main loop")


def finalizing(pod):
    """A shutdown that somebody else began, and that takes nearly as long as a phase may: no probe fails."""
    process, [part] = pod.recorder.process, pod.files(".part")
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-P", part, "-e", "trace=fsync", "-e",
         f"inject=fsync:delay_enter={HELD_SECONDS * 1_000_000}:when=1", "-p", str(process.pid)])
    await_tracer(process.pid, tracer.pid)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic() - pod.recorder.began
    wait_for("its end", lambda: pod.recorder.times("ended"), 100)
    took = pod.recorder.times("ended")[0] - began
    failed = [what for _, what in pod.recorder.events if what.startswith("probe failed")]
    expect(failed == [], f"a probe failed while it finalized: {failed}")
    expect(took >= HELD_SECONDS, f"it took {took:.1f} s only: the case shows nothing")
    expect(pod.recorder.statuses[0] == 0, f"exit status {pod.recorder.statuses[0]}")
    tracer.wait(20)
    pod.close()
    return f"shutdown of {took:.1f} s, no probe failed"


CASES = [
    crash_looping_exporter,
    frozen,
    frozen_without_exporter,
    main_loop_hangs,
    main_loop_hangs_without_exporter,
    main_loop_hangs_without_probes,
    finalizing,
]


def run(case):
    with tempfile.TemporaryDirectory() as folder:
        pod = Pod(Path(folder), SPEED if case is crash_looping_exporter else 1)
        try:
            print(f"{case.__name__.replace('_', ' ')}: {case(pod.start())}", flush=True)
        except Exception as error:  # The other cases go on.
            expect(False, f"{case.__name__}: {error!r}; {pod.recorder.events}; {(pod.recorder.log.read_text())[-2000:]}")
        finally:
            for container in (pod.recorder, pod.exporter):
                container.ended.set()
                container.kill()


def main():
    wanted = sys.argv[1:]
    cases = [case for case in CASES if not wanted or case.__name__ in wanted]
    with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
        list(pool.map(run, cases))
    report.end("liveness")


if __name__ == "__main__":
    main()
