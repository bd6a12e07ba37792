#!/usr/bin/env python3
"""A thousand pods under one Prometheus, and a rollout of them all: what it costs, and whether it is seen.

usage: fleet.py [PODS [SEED]]       1000 pods without an argument

Each pod is a real exporter with an address of its own; their recorders are played by one process, which publishes the
metrics of a real one. Prometheus has the project's rules and alerts, and scrapes every 15 seconds. After a steady time,
in which some recorders crash, every pod is replaced, a tenth of them at a time: most shut down well, some are degraded,
a few are killed. Exits with 1 when Prometheus has counted one end wrong.

Needs prometheus; the programs in .build/debug, or where STREAMVAULT_BIN says, and Fleet in .build/release.
"""

import collections
import concurrent.futures
import contextlib
import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import panels
from pods import Cluster
from prometheus import JOB, Prometheus
from harness import Processes, wait_for

INTERVAL = 15
STEADY_SECONDS = 120
DAY = 86400
SHARES = {"degraded": 0.02, "killed": 0.01}
CRASHES = 0.005


def plan(count):
    """How each pod ends, and how long its recordings take: {number: (end, seconds)}."""
    ends = {number: ("clean", min(20.0, random.lognormvariate(1.5, 0.6))) for number in range(count)}
    unlucky = iter(random.sample(range(count), count))
    for end, share in SHARES.items():
        for _ in range(max(1, round(share * count))):
            ends[next(unlucky)] = (end, 5)
    return ends


def crash_some(cluster):
    """Lets some recorders die; how many."""
    unlucky = random.sample(sorted(cluster.pods), max(1, round(CRASHES * len(cluster.pods))))
    for number in unlucky:
        cluster.pods[number].crash()
    return len(unlucky)


def roll_out(cluster, ends):
    """Replaces every pod, a tenth of them at a time; how long that took."""
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(max(1, len(ends) // 10)) as pool:
        tasks = [pool.submit(cluster.replace, number, *how) for number, how in ends.items()]
        while any(not task.done() for task in tasks):
            cluster.publish()
            time.sleep(1)
        for task in tasks:
            task.result()
    cluster.publish()
    return time.monotonic() - start


class Tables:
    """Prints figures under headings."""

    def head(self, *cells):
        print(flush=True)
        self.row(*cells)

    def row(self, name, *cells):
        print(f"{name:58}" + "".join(f"{self.text(cell):>14}" for cell in cells), flush=True)

    def text(self, cell):
        if isinstance(cell, float):
            return f"{cell:.3f}" if abs(cell) < 10 else f"{cell:.0f}"
        return str(cell)


def measure(prometheus, cluster, tables):
    """What the fleet costs while nothing happens."""
    cpu, samples = prometheus.work(STEADY_SECONDS)
    resident, series, chunks = prometheus.own(
        "process_resident_memory_bytes", "prometheus_tsdb_head_series", "prometheus_tsdb_head_chunks")
    durations = sorted(value for _, value in prometheus.query(f'scrape_duration_seconds{{job="{JOB}"}}'))
    per_page = prometheus.value(f'avg(scrape_samples_scraped{{job="{JOB}"}})')
    tables.head("steady")
    tables.row("targets", len(durations))
    tables.row("series a target", per_page)
    tables.row("series in the head", series)
    tables.row("samples a second", samples)
    tables.row("CPU of Prometheus, % of a core", 100 * cpu)
    tables.row("resident MiB of Prometheus", resident / 2**20)
    tables.row("KiB a series", resident / 1024 / series)
    tables.row("ms a scrape, median", 1e3 * statistics.median(durations))
    tables.row("ms a scrape, 99th percentile", 1e3 * durations[int(len(durations) * 0.99)])
    tables.row("resident MiB of all exporters, shared memory once", cluster.resident_mebibytes())
    return samples


def show_rollout(prometheus, cluster, took, tables):
    departures = cluster.departures()
    series, resident = prometheus.own("prometheus_tsdb_head_series", "process_resident_memory_bytes")
    tables.head(f"rollout, {took:.0f} s")
    for reason, count in departures.items():
        tables.row(f"exporters that left: {reason}", count)
    tables.row("series in the head", series)
    tables.row("resident MiB of Prometheus", resident / 2**20)


def show_disk(prometheus, rate, tables):
    """What the head takes as a block, and what such blocks of two hours make in a day."""
    chunks, index, samples, series = prometheus.snapshot()
    tables.head("disk")
    tables.row("bytes a sample", chunks / samples)
    tables.row("bytes of the index a series", index / series)
    tables.row("GB a day", (rate * DAY * chunks / samples + DAY / 7200 * index) / 1e9)


def show_rules(prometheus, tables):
    tables.head("ms of the rules", "group", "slowest rule")
    for group in prometheus.rule_groups():
        times = [rule["evaluationTime"] * 1e3 for rule in group["rules"]]
        tables.row(f"{group['name']}, every {group['interval']:.0f} s", group["evaluationTime"] * 1e3, max(times))
        wrong = [rule["name"] for rule in group["rules"] if rule["health"] == "err"]
        assert not wrong, f"rules that cannot be evaluated: {wrong}"


def show_cardinality(prometheus, tables):
    tables.head("series by metric")
    for labels, value in prometheus.query(f'topk(8, count by (__name__) ({{job="{JOB}"}}))'):
        tables.row(labels["__name__"], value)


def compare(prometheus, ends, crashes, tables):
    """What Prometheus has of the ends, beside what happened; whether they agree."""
    true = collections.Counter(end for end, _ in ends.values()) | collections.Counter(crashed=crashes)
    rule = {labels["outcome"]: value for labels, value in
            prometheus.query("namespace_job_outcome:streamvault_runs_ended:increase1d")}
    alerts = {"degraded": "ShutdownDegraded", "killed": "ShutdownKilled", "crashed": "RecorderCrashed"}
    fired = dict(collections.Counter(
        labels["alertname"] for labels, _ in prometheus.query('last_over_time(ALERTS{alertstate="firing"}[1h])')))
    tables.head("ends", "true", "recorded", "alerts")
    for outcome in ("clean", "degraded", "killed", "crashed"):
        alert = fired.get(f"StreamVault{alerts.get(outcome)}", 0)
        tables.row(outcome, true[outcome], rule.get(outcome, 0), alert if outcome in alerts else "")
    others = fired.keys() - {f"StreamVault{alert}" for alert in alerts.values()}
    for alert in sorted(others):
        tables.row(alert, "", "", fired[alert])
    return all(rule.get(outcome, 0) == count for outcome, count in true.items())


def allow_descriptors():
    """All that are to be had: the process of the recorders has one for each of them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def await_pods(prometheus, cluster):
    running = "count(streamvault_recorder_up == 1)"
    wait_for("all pods", lambda: prometheus.value(running) == len(cluster.pods), 300)


def play(prometheus, cluster, tables):
    """The day; whether Prometheus has every end of it."""
    await_pods(prometheus, cluster)
    time.sleep(2 * INTERVAL)
    rate = measure(prometheus, cluster, tables)
    show_rules(prometheus, tables)
    show_cardinality(prometheus, tables)
    crashes = crash_some(cluster)
    time.sleep(2 * INTERVAL)
    ends = plan(len(cluster.pods))
    took = roll_out(cluster, ends)
    await_pods(prometheus, cluster)
    prometheus.await_evaluation(600)
    show_rollout(prometheus, cluster, took, tables)
    good = compare(prometheus, ends, crashes, tables)
    show_rules(prometheus, tables)
    panels.show(prometheus, tables)
    show_disk(prometheus, rate, tables)
    return good


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    random.seed(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    allow_descriptors()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamvault-fleet-")))
        processes = Processes()
        stack.callback(processes.end_all)
        telemetry = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        cluster = stack.enter_context(contextlib.closing(Cluster(folder, telemetry, processes)))
        cluster.start(count)
        prometheus = Prometheus(folder, cluster.targets, INTERVAL, processes)
        good = play(prometheus, cluster, Tables())
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
