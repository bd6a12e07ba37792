"""The Prometheus that scrapes the fleet, and what it measures about itself."""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import harness  # noqa: E402
from harness import ROOT  # noqa: E402

JOB = "streamvault"


class Prometheus(harness.Prometheus):
    def __init__(self, folder, targets, interval, processes):
        super().__init__(
            folder, [{"job_name": JOB, "file_sd_configs": [{"files": [str(targets)]}]}], processes, interval=interval,
            rule_files=[ROOT / "prometheus" / f"streamvault-{kind}.yml" for kind in ("rules", "alerts")],
            arguments=["--web.enable-admin-api"])
        self.await_ready()

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
        blocks = [path.parent for path in (self.data / "snapshots" / name).glob("*/meta.json")]
        stats = [json.loads((block / "meta.json").read_text())["stats"] for block in blocks]
        chunks = sum(file.stat().st_size for block in blocks for file in (block / "chunks").iterdir())
        index = sum((block / "index").stat().st_size for block in blocks)
        return chunks, index, sum(stat["numSamples"] for stat in stats), sum(stat["numSeries"] for stat in stats)
