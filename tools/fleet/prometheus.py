"""The Prometheus that scrapes the fleet, and what it says about itself."""

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from programs import ROOT  # noqa: E402
from stage import fetch, free_port, wait_for, were_evaluated  # noqa: E402

JOB = "streamvault"


class Prometheus:
    def __init__(self, folder, targets, interval):
        self.folder, self.interval = folder, interval
        self.address = f"127.0.0.1:{free_port()}"
        config = folder / "prometheus.json"
        config.write_text(json.dumps({
            "global": {"scrape_interval": f"{interval}s", "evaluation_interval": f"{interval}s"},
            "rule_files": [str(ROOT / "prometheus" / f"streamvault-{kind}.yml") for kind in ("rules", "alerts")],
            "scrape_configs": [{"job_name": JOB, "file_sd_configs": [{"files": [str(targets)]}]}],
        }))
        with open(folder / "prometheus.log", "w") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
                 "--web.enable-admin-api", f"--web.listen-address={self.address}"], stdout=log, stderr=log)
        wait_for("Prometheus", 60, lambda: fetch(f"http://{self.address}/-/ready"))

    def ask(self, path, method="GET", **parameters):
        query = urllib.parse.urlencode(parameters, doseq=True)
        request = urllib.request.Request(f"http://{self.address}/api/v1/{path}?{query}", method=method)
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        result = self.ask("query", query=expression)["result"]
        return [(found["metric"], float(found["value"][1])) for found in result]

    def value(self, expression):
        return next((value for _, value in self.query(expression)), 0)

    def own(self, *names):
        """Its own metrics; of one with labels, the sum."""
        page = fetch(f"http://{self.address}/metrics")
        return [sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", page, re.M)) for name in names]

    def work(self, seconds):
        """What it does in so many seconds: the share of a core, and samples a second."""
        names = "process_cpu_seconds_total", "prometheus_tsdb_head_samples_appended_total"
        before, start = self.own(*names), time.monotonic()
        time.sleep(seconds)
        after, took = self.own(*names), time.monotonic() - start
        return [(b - a) / took for a, b in zip(before, after)]

    def snapshot(self):
        """What is in the head, as a block: bytes of chunks, bytes of the index, samples, series."""
        name = self.ask("admin/tsdb/snapshot", method="POST")["name"]
        blocks = [path.parent for path in (self.folder / "data" / "snapshots" / name).glob("*/meta.json")]
        stats = [json.loads((block / "meta.json").read_text())["stats"] for block in blocks]
        chunks = sum(file.stat().st_size for block in blocks for file in (block / "chunks").iterdir())
        index = sum((block / "index").stat().st_size for block in blocks)
        return chunks, index, sum(stat["numSamples"] for stat in stats), sum(stat["numSeries"] for stat in stats)

    def rule_groups(self):
        return self.ask("rules")["groups"]

    def await_rules(self):
        """Waits until every group has been evaluated after now."""
        now = time.time()
        wait_for("the evaluation of the rules", 600, lambda: were_evaluated(self.rule_groups(), now))

    def close(self):
        self.process.kill()
        self.process.wait()
