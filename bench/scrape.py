#!/usr/bin/env python3
"""Measures scrapes of the exporter beside nginx serving the same bytes as a static file, and each figure beside its bar.

usage: bench/scrape.py [EXPORTER]

The two take turns, so what slows the machine slows both; shown are medians, and their ratio. nginx has one worker, no access
log, sendfile, and its defaults else. CPU is what the kernel charges the process, per request. ROUNDS and SCRAPES in the
environment say how often. On a machine that does something else, too: chrt -f 10 bench/scrape.py
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import servers

ROUNDS = int(os.environ.get("ROUNDS", 9))
SCRAPES = int(os.environ.get("SCRAPES", 1_000_000))
SECONDS = 1
MICROSECONDS = {"us": 1, "ms": 1e3, "s": 1e6}


class Load:
    """One run of wrk against a server."""

    def __init__(self, server, connections, seconds=SECONDS):
        headers = [word for name, value in servers.SCRAPE.items() for word in ("-H", f"{name}: {value}")]
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *headers]
        before = server.cpu_seconds()
        url = f"http://127.0.0.1:{server.port}/metrics"
        text = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
        used = server.cpu_seconds() - before
        if re.search("Socket errors|Non-2xx", text):
            sys.exit(f"{url}: {text}")
        self.requests = int(re.search(r"(\d+) requests in", text)[1])
        self.rate = float(re.search(r"Requests/sec:\s*([\d.]+)", text)[1])
        value, unit = re.search(r"99%\s*([\d.]+)(us|ms|s)", text).groups()
        self.p99 = float(value) * MICROSECONDS[unit]
        self.cpu = used * 1e6 / self.requests


class Table:
    """Prints figures, each beside what it has to be."""

    def __init__(self):
        print(f"{'':38}{'exporter':>11}{'nginx':>11}{'ratio':>8}  bar")

    def ratio(self, name, pairs, least=None, most=None):
        ours, theirs = (median(side) for side in zip(*pairs))
        figure = ours / theirs
        print(f"  {name:36}{ours:11.1f}{theirs:11.1f}{figure:8.2f}  {self.verdict(figure, least, most)}", flush=True)

    def value(self, name, figure, most=None):
        print(f"  {name:36}{figure:11.2f}{'':19}  {self.verdict(figure, None, most)}", flush=True)

    def verdict(self, figure, least, most):
        if least is not None:
            return f">= {least} {'' if figure >= least else 'MISSED'}"
        if most is not None:
            return f"<= {most} {'' if figure <= most else 'MISSED'}"
        return ""


@contextlib.contextmanager
def workplace(program, size):
    """A directory in memory, a recorder of that size, and the exporter."""
    work = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        with servers.fixture(work, size), servers.exporter(program, work) as exporter:
            yield work, exporter
    finally:
        shutil.rmtree(work)


def describe(exporter):
    body = servers.fetch(exporter.port)[2]
    series = sum(not line.startswith(b"#") for line in body.splitlines())
    print(f"{series} series in {len(body)} bytes")


def beside_nginx(table, work, exporter, barred):
    """Both servers in turns, at 1 and at 16 connections; how often the exporter was scraped."""
    scrapes = 0
    with servers.Nginx(work, exporter) as nginx:
        for connections in (1, 16):
            rounds = [(Load(exporter, connections), Load(nginx, connections)) for _ in range(ROUNDS + 1)][1:]
            suffix = f", {connections} connection{'s' if connections > 1 else ''}"
            table.ratio("requests/s" + suffix, [(a.rate, b.rate) for a, b in rounds], least=1.0 if barred else None)
            most = 1.2 if barred and connections == 1 else None
            table.ratio("p99 us" + suffix, [(a.p99, b.p99) for a, b in rounds], most=most)
            table.ratio("CPU us" + suffix, [(a.cpu, b.cpu) for a, b in rounds], most=1.0 if barred else None)
            scrapes += sum(ours.requests for ours, _ in rounds)
    return scrapes


def resident(table, exporter, scrapes):
    """Memory after so many scrapes, and how much of it the last nine tenths of them brought."""
    while scrapes < SCRAPES / 10:
        scrapes += Load(exporter, 16).requests
    early = exporter.status("VmRSS")
    while scrapes < SCRAPES:
        scrapes += Load(exporter, 16).requests
    late = exporter.status("VmRSS")
    table.value(f"resident MiB after {scrapes} scrapes", late / 1024, most=8)
    table.value("of that since a tenth of them", (late - early) / 1024)


def large(table, program, size, name):
    with workplace(program, size) as (_, exporter):
        describe(exporter)
        loads = [Load(exporter, 1) for _ in range(ROUNDS + 1)][1:]
        table.value(f"ms a scrape, {name}", median(1e3 / load.rate for load in loads), most=0.5)
        table.value("CPU ms", median(load.cpu / 1e3 for load in loads))


def idle(table, exporter):
    time.sleep(3)  # Until connections that have ended are forgotten.
    before = exporter.status("voluntary_ctxt_switches")
    time.sleep(10)
    table.value("wake-ups in 10 s without a client", exporter.status("voluntary_ctxt_switches") - before, most=0)


def start(table, program, work):
    """From the start of the process to the last byte of the first scrape."""

    def once():
        port = servers.free_port()
        address = f"127.0.0.1:{port}"
        command = [program, "--telemetry-dir", str(work / "telemetry"), "--web.listen-address", address]
        began = time.perf_counter()
        with servers.Process(command, work / "start.log"):
            while True:
                with contextlib.suppress(ConnectionError):
                    if servers.fetch(port)[0] == 200:
                        return (time.perf_counter() - began) * 1e3

    table.value("ms from start to the first 200", median(once() for _ in range(ROUNDS)), most=20)


def main():
    program = Path(sys.argv[1] if len(sys.argv) > 1 else servers.ROOT / ".build/bin/streamvault-exporter").resolve()
    table = Table()
    with workplace(program, "small") as (work, exporter):
        describe(exporter)
        beside_nginx(table, work, exporter, barred=True)
    with workplace(program, "full") as (work, exporter):
        describe(exporter)
        scrapes = beside_nginx(table, work, exporter, barred=False)
        resident(table, exporter, scrapes)
        idle(table, exporter)
        start(table, program, work)
    large(table, program, "large", "numbers at rest")
    large(table, program, "moving", "all numbers moving")
    print("the program")
    table.value("MB", program.stat().st_size / 1e6, most=15)


main()
