"""A recorder in pods that come and go, and a Prometheus that scrapes them every second; all on loopback."""

import contextlib
import json
import random
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime
from pathlib import Path

from programs import ROOT, program

RECORDER = "cam"
# Ends only when it is killed or nobody reads it: the phase "recordings" lasts about four seconds.
STUBBORN = 'trap "" INT TERM; while :; do cat "$0" || exit; sleep 0.2; done'
# Seven null packets of MPEG-TS.
PACKETS = (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 7


GIVEN_PORTS = set()


def free_port():
    """Never the same twice, and none that the kernel gives to clients: a server may come back to it much later."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in GIVEN_PORTS:
                GIVEN_PORTS.add(port)
                return port


def fetch(url):
    return fetch_as(url, "*/*")


def fetch_as(url, media_type):
    request = urllib.request.Request(url, headers={"Accept": media_type})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode()


def wait_for(what, seconds, condition):
    """Returns the first truthy value of `condition`; a server that is not up yet counts as no."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            value = condition()
            if value:
                return value
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.1)
    raise TimeoutError(f"waited {seconds} s in vain for {what}")


def were_evaluated(groups, moment):
    """Whether every group of rules has been evaluated after that moment."""
    # To the nanosecond, which is more than Python reads.
    times = [re.sub(r"\.\d+", "", group["lastEvaluation"]) for group in groups]
    return all(datetime.fromisoformat(text).timestamp() > moment for text in times)


class Pod:
    """Where one recorder and its exporter share a telemetry directory, and Prometheus finds them."""

    def __init__(self, stage, number):
        self.stage = stage
        self.address = f"127.0.0.1:{free_port()}"
        self.telemetry = stage.folder / f"telemetry-{number}"
        self.telemetry.mkdir()

    def start_recorder(self):
        config = str(self.stage.folder / "recorder.json5")
        return self.stage.start(
            "recorder", program("recorder"), "--config", config,
            "--telemetry-dir", str(self.telemetry),
        )

    def start_exporter(self, *flags):
        return self.stage.start(
            "exporter", program("exporter"), "--telemetry-dir", str(self.telemetry),
            "--web.listen-address", self.address, *flags,
        )

    def elapsed(self, phase):
        """Seconds for which the phase has been running, by the exporter's page."""
        found = re.search(rf'^streamvault_shutdown_phase_elapsed_seconds{{.*phase="{phase}".*}} (\S+)$',
                          fetch(f"http://{self.address}/metrics"), re.M)
        return float(found[1])

    def page(self):
        """The exporter's page: {sample name: [labels]}."""
        families = {}
        for line in fetch(f"http://{self.address}/metrics").splitlines():
            if line and not line.startswith("#"):
                name, labels = re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line).groups()
                families.setdefault(name, []).append(
                    dict(re.findall(r'(\w+)="(.*?)"', labels or ""))
                )
        return families


class Stage:
    def __init__(self, folder, pods):
        self.folder = Path(folder)
        self.processes = []
        self.pods = [Pod(self, number) for number in range(pods)]
        self.prometheus_address = f"127.0.0.1:{free_port()}"
        packets = self.folder / "packets.ts"
        packets.write_bytes(PACKETS)
        argv = ["sh", "-c", STUBBORN, str(packets)]
        self.write("recorder.json5", {
            "name": RECORDER,
            "recordings_dir": str(self.folder / "recordings"),
            "web": {"listen_address": [f"unix:{self.folder}/recorder.socket"]},
            "streams": [{"name": "slow", "source": {"type": "command", "argv": argv}}],
        })
        rules = (ROOT / "prometheus" / "streamvault-rules.yml").read_text()
        (self.folder / "rules.yml").write_text(rules.replace("interval: 5m", "interval: 1s"))
        self.write("prometheus.yml", {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(self.folder / "rules.yml"), str(ROOT / "prometheus" / "streamvault-alerts.yml")],
            "scrape_configs": [{
                "job_name": "streamvault",
                "static_configs": [{"targets": [pod.address for pod in self.pods]}],
            }],
        })

    def write(self, name, value):
        (self.folder / name).write_text(json.dumps(value))

    def start(self, name, *command):
        """The process; its output goes to NAME.log, which begins anew."""
        with open(self.folder / f"{name}.log", "w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def start_prometheus(self):
        return self.start(
            "prometheus", "prometheus", f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address={self.prometheus_address}",
        )

    def stop_all(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
            process.wait()

    def ask(self, path, **parameters):
        url = f"http://{self.prometheus_address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        return json.loads(fetch(url))["data"]["result"]

    def query(self, expression):
        """{labels: value} of an instant query; a query that Prometheus refuses is a ValueError."""
        try:
            result = self.ask("query", query=expression)
        except urllib.error.HTTPError as error:
            if error.code == 503:  # Not up yet: it listens before it can answer.
                raise
            raise ValueError(f"Prometheus refuses {expression}: {error.read().decode()}") from error
        return [(found["metric"], float(found["value"][1])) for found in result]

    def value(self, expression):
        """The value of the first series, or None."""
        return next((value for _, value in self.query(expression)), None)

    def await_value(self, expression, wanted, seconds=15):
        wait_for(f"{expression} = {wanted}", seconds, lambda: self.value(expression) == wanted)

    def rule_groups(self):
        return json.loads(fetch(f"http://{self.prometheus_address}/api/v1/rules"))["data"]["groups"]

    def await_evaluation(self):
        """Waits until every rule has been evaluated after now, on what is stored now."""
        now = time.time()
        wait_for("the evaluation of the rules", 20, lambda: were_evaluated(self.rule_groups(), now))

    def failed_rules(self):
        """The rules that Prometheus could not evaluate, with its reasons."""
        return {rule["name"]: rule["lastError"]
                for group in self.rule_groups() for rule in group["rules"] if rule["health"] == "err"}

    def recorded(self):
        """What the rules have recorded: {name: {the last label: value}}."""
        found = {}
        for labels, value in self.query('{__name__=~".+:streamvault_.+"}'):
            label = next((labels[key] for key in ("outcome", "phase") if key in labels), None)
            found.setdefault(labels["__name__"].split(":", 1)[1], {})[label] = value
        return found

    def alerts(self):
        """The names of the alerts that have fired in the last hour."""
        fired = self.query('count by (alertname) (last_over_time(ALERTS{alertstate="firing"}[1h]))')
        return {labels["alertname"] for labels, _ in fired}

    def logged_phases(self):
        """What the recorder wrote into its log about its last shutdown: {phase: seconds}."""
        text = (self.folder / "recorder.log").read_text()
        found = re.findall(r'Shutdown phase ended" phase=(\w+) .*seconds=(\S+)', text)
        return {phase: float(seconds) for phase, seconds in found}
