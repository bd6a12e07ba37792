#!/usr/bin/env python3
"""Stops recorder and exporter in every order, again and again, at random moments, under a pair of Prometheis behind one
address, and counts how often each of the two has every series of the recorder's last word.

Needs Debian's prometheus; the programs in .build/debug, or where STREAMVAULT_BIN says.
"""

import argparse
import concurrent.futures
import datetime
import json
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

from programs import program
from stage import PACKETS, STUBBORN, fetch, free_port, wait_for

# Ends at once when it is asked to.
MEEK = 'while :; do cat "$0" || exit; sleep 0.2; done'
PATIENCE = 120  # Seconds until a process or a value is given up.


class Prometheus:
    def __init__(self, folder, number, interval, targets):
        self.address = f"127.0.0.1:{free_port()}"
        config = folder / f"prometheus-{number}.json"
        config.write_text(json.dumps({
            "global": {"scrape_interval": f"{interval}s", "scrape_timeout": f"{min(interval, 10)}s"},
            "scrape_configs": [{"job_name": "storm", "static_configs": [{"targets": targets}]}],
        }))
        command = [
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data-{number}",
            f"--web.listen-address={self.address}",
        ]
        with open(folder / f"prometheus-{number}.log", "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def last_values(self, instance):
        """{series: value} of the recorder, also when it is gone."""
        query = f'last_over_time({{recorder!="", instance="{instance}"}}[1h])'
        url = f"http://{self.address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        found = {}
        for result in json.loads(fetch(url))["data"]["result"]:
            labels = {k: v for k, v in result["metric"].items() if k not in ("instance", "job")}
            found[frozenset(labels.items())] = float(result["value"][1])
        return found


def page(address, path="/metrics"):
    """What an exporter answers; nothing while it does not."""
    try:
        return fetch(f"http://{address}{path}")
    except OSError:
        return ""


def parse(text):
    """{series: value} of the recorder, as `last_values` has them."""
    found = {}
    for line in text.splitlines():
        name, labels, value = re.fullmatch(r"(#|\w+)(?:\{(.*)\})? (.*)", line).groups()
        labels = dict(re.findall(r'(\w+)="(.*?)"', labels or ""), __name__=name)
        if "recorder" in labels:
            found[frozenset(labels.items())] = float(value)
    return found


def stamp(line):
    text = re.search(r"ts=(\S+)", line).group(1)
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Lane:
    """A pod that is started and stopped again and again at one address, with one telemetry directory."""

    def __init__(self, folder, number):
        self.folder = folder / f"lane-{number}"
        self.folder.mkdir()
        (self.folder / "packets.ts").write_bytes(PACKETS)
        self.address = f"127.0.0.1:{free_port()}"
        self.random = random.Random(number)
        self.count = 0

    def start(self, name, *command):
        self.count += 1
        self.log = self.folder / f"{self.count}-{name}.log"
        with open(self.log, "w") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def start_exporter(self, address, *flags):
        return self.start(
            "exporter", program("exporter"), f"--telemetry-dir={self.folder}/telemetry",
            f"--web.listen-address={address}", *flags,
        )

    def start_recorder(self, script):
        config = self.folder / "recorder.json5"
        argv = ["sh", "-c", script, str(self.folder / "packets.ts")]
        config.write_text(json.dumps({
            "name": "cam",
            "recordings_dir": str(self.folder / "recordings"),
            "telemetry_dir": str(self.folder / "telemetry"),
            "web": {"listen_address": [f"unix:{self.folder}/recorder.socket"]},
            "streams": [{"name": "stream", "source": {"type": "command", "argv": argv}}],
        }))
        return self.start("recorder", program("recorder"), "--config", str(config))

    def value(self, name):
        found = re.search(rf"^streamvault_{name}(?:\{{.*\}})? (\S+)$", page(self.address), re.M)
        return found and float(found.group(1))

    def pause(self, most):
        time.sleep(self.random.uniform(0, most))

    def round(self, order, interval, prometheis):
        """One life and its end; what came of it."""
        (self.folder / "telemetry").mkdir(exist_ok=True)
        exporter = self.start_exporter(self.address, "--termination-grace-period=100s")
        log = self.log
        stubborn = order is recorder_killed or self.random.random() < 0.5
        recorder = self.start_recorder(STUBBORN if stubborn else MEEK)
        try:
            wait_for("scrapers", PATIENCE, lambda: self.value("exporter_scrapers") == len(prometheis))
            wait_for("a recording", PATIENCE, lambda: self.value("recordings_active") == 1)
            self.pause(2 * interval)
            wait_for("the hook", PATIENCE, lambda: page(self.address, "/-/terminating"))
            told = order(self, recorder, exporter)
            status = exporter.wait(timeout=PATIENCE)
            left = time.time()
        finally:
            for process in (exporter, recorder):
                process.kill()
                process.wait()
        lines = log.read_text().splitlines()
        collected = [stamp(line) for line in lines if 'msg="Last word collected"' in line]
        wanted = self.last_word()
        return {
            "complete": sum(self.has(p, wanted) for p in prometheis),
            "status": status,
            "verdict": lines[-1],
            "series": len(wanted),
            "waited": left - told,
            "after_last": left - max(collected + [told]),
        }

    def last_word(self):
        """Every series of the recorder, as an exporter shows it that comes later."""
        address = f"127.0.0.1:{free_port()}"
        exporter = self.start_exporter(address)
        try:
            return wait_for("the last word", PATIENCE, lambda: parse(page(address)))
        finally:
            exporter.kill()
            exporter.wait()

    def has(self, prometheus, wanted):
        def all_there():
            found = prometheus.last_values(self.address)
            return all(found.get(series) == value for series, value in wanted.items())

        try:
            # What Prometheus has acknowledged, it has still to store.
            return wait_for("the last word in Prometheus", 5, all_there)
        except TimeoutError:
            return False


def recorder_first(lane, recorder, exporter):
    """A native sidecar."""
    recorder.send_signal(signal.SIGTERM)
    recorder.wait(timeout=PATIENCE)
    exporter.send_signal(signal.SIGTERM)
    return time.time()


def together(lane, recorder, exporter):
    """Two plain containers of one pod."""
    recorder.send_signal(signal.SIGTERM)
    exporter.send_signal(signal.SIGTERM)
    return time.time()


def exporter_first(lane, recorder, exporter):
    exporter.send_signal(signal.SIGTERM)
    told = time.time()
    lane.pause(3)
    recorder.send_signal(signal.SIGTERM)
    return told


def recorder_killed(lane, recorder, exporter):
    """The recorder does not survive its shutdown."""
    recorder.send_signal(signal.SIGTERM)
    exporter.send_signal(signal.SIGTERM)
    told = time.time()
    lane.pause(3)
    recorder.send_signal(signal.SIGKILL)
    return told


ORDERS = [recorder_first, together, exporter_first, recorder_killed]


def is_right(outcome):
    verdict = 'reason="last word collected" collected=2 missed=0' in outcome["verdict"]
    return outcome["complete"] == 2 and outcome["status"] == 0 and verdict and outcome["after_last"] < 1


def show(order, outcomes):
    """Prints a line of the table; whether all is well."""
    rounds = len(outcomes)
    complete = [sum(o["complete"] > index for o in outcomes) for index in range(2)]
    waited = [o["waited"] for o in outcomes]
    after = [o["after_last"] for o in outcomes]
    print(
        f"{order.__name__:16} {complete[1]:3} of {rounds} in both ({complete[0]} in one),"
        f" {min(o['series'] for o in outcomes)} series each;"
        f" told to gone: median {statistics.median(waited):.2f} s, at most {max(waited):.2f} s;"
        f" last acknowledgement to gone: median {statistics.median(after) * 1000:.0f} ms,"
        f" at most {max(after) * 1000:.0f} ms",
        flush=True,
    )
    wrong = [o for o in outcomes if not is_right(o)]
    for outcome in wrong:
        print(f"  {outcome}", file=sys.stderr)
    return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=50, help="of each order")
    parser.add_argument("--interval", type=int, default=1, help="of the scrapes, in seconds")
    parser.add_argument("--lanes", type=int, default=10, help="pods at a time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="streamvault-storm-") as name:
        lanes = [Lane(Path(name), number) for number in range(options.lanes)]
        targets = [lane.address for lane in lanes]
        prometheis = [Prometheus(Path(name), n, options.interval, targets) for n in range(2)]
        try:
            good = [storm(order, lanes, prometheis, options) for order in ORDERS]
        finally:
            for prometheus in prometheis:
                prometheus.process.kill()
                prometheus.process.wait()
    sys.exit(0 if all(good) else 1)


def storm(order, lanes, prometheis, options):
    def life(number):
        mine = range(number, options.rounds, len(lanes))
        return [lanes[number].round(order, options.interval, prometheis) for _ in mine]

    with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
        outcomes = [o for some in pool.map(life, range(len(lanes))) for o in some]
    return show(order, outcomes)


if __name__ == "__main__":
    main()
