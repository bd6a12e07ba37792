"""A recorder in pods that come and go, and a Prometheus that scrapes them every second; all on loopback."""

import re
from pathlib import Path

from harness import (
    PACKETS, ROOT, Processes, Prometheus, command_stream, fetch, free_port, metric, program, samples, write_configuration,
)

RECORDER = "cam"
# Ignores signals and ends only when it is killed or nobody reads its output: the phase "recordings" lasts about four seconds.
STUBBORN = 'trap "" INT TERM; while :; do cat "$0" || exit; sleep 0.2; done'


class Pod:
    """A recorder and its exporter with one telemetry directory, at an address that Prometheus scrapes."""

    def __init__(self, stage, number):
        self.stage = stage
        self.address = f"127.0.0.1:{free_port()}"
        self.telemetry = stage.folder / f"telemetry-{number}"
        self.telemetry.mkdir()

    def start_recorder(self):
        return self.stage.start(
            "recorder", program("recorder"), "--config", self.stage.config, "--telemetry-dir", self.telemetry)

    def start_exporter(self, *flags):
        return self.stage.start(
            "exporter", program("exporter"), "--telemetry-dir", self.telemetry, "--web.listen-address", self.address, *flags)

    def elapsed(self, phase):
        """Seconds for which the phase has been running, as the exporter reports it."""
        return metric(fetch(f"http://{self.address}/metrics"), "streamvault_shutdown_phase_elapsed_seconds", phase=phase)

    def page(self):
        """The exporter's page: {sample name: [labels]}."""
        found = {}
        for name, labels, _ in samples(fetch(f"http://{self.address}/metrics")):
            found.setdefault(name, []).append(labels)
        return found


class Stage:
    def __init__(self, folder, pods):
        self.folder = Path(folder)
        self.processes = Processes()
        self.pods = [Pod(self, number) for number in range(pods)]
        packets = self.folder / "packets.ts"
        packets.write_bytes(PACKETS)
        self.config = write_configuration(
            self.folder, [command_stream("slow", "sh", "-c", STUBBORN, packets)], name=RECORDER,
            web={"listen_address": [f"unix:{self.folder}/recorder.socket"]})
        rules = (ROOT / "prometheus" / "streamvault-rules.yml").read_text()
        (self.folder / "rules.yml").write_text(rules.replace("interval: 5m", "interval: 1s"))

    def start(self, name, *command):
        return self.processes.start(command, self.folder / f"{name}.log")

    def start_prometheus(self):
        self.prometheus = Prometheus(
            self.folder,
            [{"job_name": "streamvault", "static_configs": [{"targets": [pod.address for pod in self.pods]}]}],
            timeout=1, rule_files=[self.folder / "rules.yml", ROOT / "prometheus" / "streamvault-alerts.yml"],
            processes=self.processes)
        return self.prometheus

    def failed_rules(self):
        """The rules that Prometheus could not evaluate: {rule: error}."""
        return {rule["name"]: rule["lastError"]
                for group in self.prometheus.rule_groups() for rule in group["rules"] if rule["health"] == "err"}

    def recorded(self):
        """The values of the recording rules: {name: {the last label: value}}."""
        found = {}
        for labels, value in self.prometheus.query('{__name__=~".+:streamvault_.+"}'):
            label = next((labels[key] for key in ("outcome", "phase") if key in labels), None)
            found.setdefault(labels["__name__"].split(":", 1)[1], {})[label] = value
        return found

    def alerts(self):
        """The names of the alerts that have fired in the last hour."""
        fired = self.prometheus.query('count by (alertname) (last_over_time(ALERTS{alertstate="firing"}[1h]))')
        return {labels["alertname"] for labels, _ in fired}

    def logged_phases(self):
        """The phases of the last shutdown in the recorder's log: {phase: seconds}."""
        text = (self.folder / "recorder.log").read_text()
        found = re.findall(r'Shutdown phase ended" phase=(\w+) .*seconds=(\S+)', text)
        return {phase: float(seconds) for phase, seconds in found}
