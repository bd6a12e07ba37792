#!/usr/bin/env python3
"""Checks the images and both Compose files on a real Docker engine: built, run, stopped in every way, and looked at.

usage: check_images.py [--no-build]      Takes minutes: it compiles both programs in a container.

Needs Docker with docker-compose (or the plugin), and the base images that the Dockerfile and compose.yaml name:
from a registry, or as stand-ins by tools/base_images.sh. Podman's service works as well, with DOCKER_HOST naming its socket.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

from engine import docker, inspect
from pod import API, METRICS, NAME, Pod
from harness import ROOT, Report, fetch, free_port, metric, wait_for

VERSION = "0.1.0"
RECORDER, EXPORTER = f"streamvault-recorder:{VERSION}", f"streamvault-exporter:{VERSION}"
CONFIG = ROOT / "compose" / "recorder.json5"
MEGABYTE = 1_000_000

report = Report()
expect = report.expect


def build():
    for target in ("exporter", "recorder"):
        command = ["docker", "build", "--network=host", "--target", target, "-t", f"streamvault-{target}:{VERSION}", "."]
        subprocess.run(command, cwd=ROOT, check=True)


def check_image(name, biggest):
    image = inspect(name)
    config = image["Config"]
    expect(image["Size"] < biggest, f"{name}: {image['Size'] / MEGABYTE:.1f} MB")
    expect(config["User"] == "10001:10001", f"{name}: runs as {config['User']}")
    # Podman's Docker API does not tell of health checks elsewhere; Docker prints the arguments without commas.
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", name)
    expect(re.search(r'HEALTHCHECK .*"healthcheck",? "http://', history), f"{name}: no health check by itself")
    expect(config["Labels"]["org.opencontainers.image.version"] == VERSION, f"{name}: label of the version")
    expect(docker("run", "--rm", name, "--version").endswith(f" {VERSION}"), f"{name}: another version inside")
    print(f"{name}: {image['Size'] / MEGABYTE:.1f} MB")


class Pair:
    """A recorder and its exporter as two containers with one telemetry volume in memory."""

    def __init__(self, grace):
        self.grace = grace
        self.port = free_port()
        for volume, options in {
            "sv-telemetry": ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=nr_blocks=4096,uid=10001,gid=10001,mode=0750"],
            "sv-recordings": [],
        }.items():
            docker("volume", "create", "--driver", "local", *options, volume)
        docker("run", "-d", "--name", "sv-exporter", "--read-only", "--cap-drop=ALL", "-p", f"127.0.0.1:{self.port}:9847",
               "-v", "sv-telemetry:/run/streamvault:ro", EXPORTER, "--telemetry-dir=/run/streamvault")

    def start_recorder(self):
        docker("rm", "-f", "streamvault", check=False)
        docker("run", "-d", "--name", "streamvault", "--read-only", "--cap-drop=ALL", "--tmpfs", "/tmp",
               "--tmpfs", "/app/logs:mode=1777", "-v", f"{CONFIG}:/etc/streamvault/recorder.json5:ro",
               "-v", "sv-telemetry:/run/streamvault", "-v", "sv-recordings:/recordings",
               RECORDER, f"--shutdown.grace-period={self.grace}s")
        wait_for("media", self.is_recording, 60)

    def is_recording(self):
        """Whether media is written now: the bytes of a run that died are shown until the next run takes over."""
        written = self.metric("streamvault_recording_written_bytes")
        return self.metric("streamvault_recordings_active") == 1 and written > 200_000

    def page(self):
        return fetch(f"http://127.0.0.1:{self.port}/metrics")

    def metric(self, name, **labels):
        return metric(self.page(), name, **labels)

    def ended(self):
        """The exit status of the recorder, once it has one."""
        wait_for("the recorder's end", lambda: not inspect("streamvault")["State"]["Running"], 90)
        return inspect("streamvault")["State"]["ExitCode"]

    def in_recordings(self, *command):
        """Runs a program of the recorder's image beside the recordings."""
        return docker("run", "--rm", "-v", "sv-recordings:/recordings", "--entrypoint", command[0], RECORDER, *command[1:])

    def files(self):
        return [name for name in self.in_recordings("ls").split() if ".ts" in name]

    def close(self):
        docker("rm", "-f", "streamvault", "sv-exporter", check=False)
        docker("volume", "rm", "-f", "sv-telemetry", "sv-recordings", check=False)


@contextmanager
def pair(grace):
    containers = Pair(grace)
    try:
        yield containers
    finally:
        containers.close()


def expect_playable(containers, what, count):
    names = containers.files()
    expect(len(names) == count and not any(".part" in name for name in names), f"{what}: files {names}")
    for name in names:
        decoded = containers.in_recordings("ffmpeg", "-v", "error", "-xerror", "-i", name, "-f", "null", "-")
        expect(decoded == "", f"{what}: {name}: {decoded}")


def check_stop(grace):
    """docker stop with this much time: status 0, one whole file, and the exporter knows of a clean end."""
    what = f"stop with {grace} s"
    with pair(grace) as containers:
        containers.start_recorder()
        started = time.monotonic()
        docker("stop", "-t", grace, "streamvault")
        took = time.monotonic() - started
        expect(took < grace, f"{what}: took {took:.1f} s")
        expect(containers.ended() == 0, f"{what}: status {containers.ended()}")
        expect(containers.metric("streamvault_shutdowns_total", outcome="clean") == 1, f"{what}: not clean")
        expect(containers.metric("streamvault_recordings_finished_total", result="interrupted") == 1, f"{what}: count")
        expect_playable(containers, what, 1)
        print(f"{what}: {took:.1f} s")


def check_kill():
    """SIGKILL, and the next start: one crash, one file of each run."""
    with pair(30) as containers:
        containers.start_recorder()
        docker("kill", "-s", "KILL", "streamvault")
        expect(containers.ended() == 137, f"kill: status {containers.ended()}")
        expect(containers.metric("streamvault_crashes_total") == 1, "kill: no crash counted")
        containers.start_recorder()
        docker("stop", "-t", "30", "streamvault")
        expect(containers.metric("streamvault_crashes_total") == 1, "kill: the crash is not counted once")
        expect(containers.metric("streamvault_shutdowns_total", outcome="clean") == 1, "kill: then not clean")
        expect_playable(containers, "kill", 2)


def check_seed():
    """The command lines that people know: kill in the container, the log by its signs, the log file."""
    with pair(60) as containers:
        containers.start_recorder()
        used = docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}").splitlines()
        print("memory:", "; ".join(sorted(used)))
        tail = docker("exec", "streamvault", "tail", "-n", "3", "/app/logs/streamvault.log")
        expect("Recording started" in tail, f"seed: the log file says {tail}")
        docker("exec", "streamvault", "kill", "-TERM", "1")
        expect(containers.ended() == 0, f"seed: status {containers.ended()}")
        signs = [line[0] for line in docker("logs", "streamvault").splitlines() if line[:1] in "🛑🔄✅❌🎯"]
        expect(signs[0] == "🛑" and signs[-1] == "🎯" and "❌" not in signs, f"seed: {signs}")
        # Podman leaves health checks to systemd.
        if "Podman" not in docker("version"):
            wait_for("a healthy exporter", lambda: inspect("sv-exporter")["State"]["Health"]["Status"] == "healthy", 30)


def compose(*words):
    command = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
    return subprocess.run([*command, "-p", "sv", *map(str, words)], cwd=ROOT, check=True, capture_output=True, text=True)


def prometheus_says(expression):
    url = "http://127.0.0.1:9090/api/v1/query?" + urllib.parse.urlencode({"query": expression})
    result = json.loads(fetch(url))["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def finished_at(container):
    return inspect(container)["State"]["FinishedAt"]


def check_compose():
    """Up, scraped, stopped: the recorder first, the exporter when Prometheus has the end."""
    try:
        compose("up", "-d", "recorder")
        wait_for("Prometheus", lambda: prometheus_says("streamvault_recordings_active") == 1, 60)
        compose("stop")
        names = docker("ps", "-a", "--filter", "label=com.docker.compose.project=sv", "--format", "{{.Names}}").split()
        exporter, prometheus = (next(n for n in names if word in n) for word in ("exporter", "prometheus"))
        order = [finished_at(name) for name in ("streamvault", exporter, prometheus)]
        expect(order == sorted(order), f"compose: stopped in the order {order}")
        for name in ("streamvault", exporter):
            state = inspect(name)["State"]
            expect(state["ExitCode"] == 0, f"compose: {name} left with {state['ExitCode']}")
        print(docker("logs", "--tail", "4", exporter))
        compose("start", "prometheus")
        clean = 'max(last_over_time(streamvault_shutdowns_total{outcome="clean"}[1h]))'
        wait_for("the end in Prometheus", lambda: prometheus_says(clean) == 1, 60)
        expect(prometheus_says("max(last_over_time(streamvault_recorder_up[1h]))") == 0, "compose: the end was missed")
    finally:
        compose("down", "-v")


# A process that stops in phases, in the place of StreamVault's own.
STREAMVAULT = {
    "services": {
        "streamvault": {
            "image": RECORDER,
            "user": "1000:1000",  # As StreamVault does.
            "entrypoint": ["python3", "/ingest_asyncio.py", "/run/streamvault/ingest.sock", "0.5", "5"],
            "volumes": [f"{ROOT}/examples/ingest_asyncio.py:/ingest_asyncio.py:ro"],
        },
    },
}


def scrape_until_gone(url, pages):
    """What a Prometheus does every second, until there is no exporter any more."""
    with suppress(OSError):
        while True:
            request = urllib.request.Request(url, headers={"User-Agent": "Prometheus/3.5.0"})
            with urllib.request.urlopen(request, timeout=5) as answer:
                pages.append(answer.read().decode())
            time.sleep(1)


def check_streamvault(folder):
    """The exporter beside another process: its last word is collected before the exporter leaves."""
    (folder / "docker-compose.yml").write_text(json.dumps(STREAMVAULT))
    files = ["-f", folder / "docker-compose.yml", "-f", ROOT / "compose.streamvault.yaml"]
    pages = []
    try:
        compose(*files, "up", "-d")
        wait_for("the run", lambda: "demo_ticks_total" in fetch("http://127.0.0.1:9847/metrics"), 60)
        prometheus = threading.Thread(target=scrape_until_gone, args=["http://127.0.0.1:9847/metrics", pages])
        prometheus.start()
        wait_for("a scrape", lambda: pages, 30)
        compose(*files, "stop")
        prometheus.join()
        expect('shutdowns_total{recorder="asyncio",outcome="clean"} 1' in pages[-1], "streamvault: the end was missed")
        exporter = docker("ps", "-a", "--filter", "label=com.docker.compose.service=exporter", "--format", "{{.Names}}")
        expect("reason=\"final state collected\"" in docker("logs", exporter), f"streamvault: {docker('logs', exporter)}")
        expect(inspect(exporter)["State"]["ExitCode"] == 0, "streamvault: the exporter's status")
    finally:
        compose(*files, "down", "-v")


def check_pod():
    """The pod of k8s/, as far as it goes without a kubelet: it records, lives by its probes, and ends in the pod's order."""
    pod = Pod(CONFIG)
    try:
        pod.start()
        label = f'streamvault_recordings_active{{recorder="{NAME}"}} 1'
        wait_for("media", lambda: label in fetch(pod.url(METRICS, "/metrics")), 60)
        for container in pod.spec["initContainers"] + pod.spec["containers"]:
            expect(fetch(pod.probe(container)), f"pod: {container['name']} is not alive")
        expect('"status"' in fetch(pod.url(API, "/health")), "pod: the recorder's own health")
        pages = []
        prometheus = threading.Thread(target=scrape_until_gone, args=[pod.url(METRICS, "/metrics"), pages])
        prometheus.start()
        wait_for("a scrape", lambda: pages, 30)
        fetch(pod.hook())
        expect(pod.stop() == [0, 0], f"pod: {docker('logs', 'sv-recorder')}")
        prometheus.join()
        expect(f'shutdowns_total{{recorder="{NAME}",outcome="clean"}} 1' in pages[-1], "pod: the end was missed")
        [name] = [path.name for path in pod.places["recordings"].glob("*.ts")]
        print(f"pod: {name}")
    finally:
        pod.close()


def main():
    if "--no-build" not in sys.argv:
        build()
    check_image(EXPORTER, 15 * MEGABYTE)
    check_image(RECORDER, 1000 * MEGABYTE)
    for grace in (60, 10, 3):
        check_stop(grace)
    check_kill()
    check_seed()
    check_pod()
    check_compose()
    with tempfile.TemporaryDirectory() as folder:
        check_streamvault(Path(folder))
    report.end("images")


if __name__ == "__main__":
    main()
