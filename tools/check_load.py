#!/usr/bin/env python3
"""Checks what the exporter does under load and abuse: answers others meanwhile, leaves no descriptor, grows no memory.

usage: tools/check_load.py [SCRAPES]

Times are told and not judged, for they are the machine's.
"""

import re
import resource
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from statistics import quantiles

from harness import Program, Report, cpu_seconds, descriptors, exchange, resident_bytes, threads, wait_for

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: load\r\n\r\n"
report = Report()


class Exporter(Program):
    """A running exporter with a limit of its descriptors."""

    def __init__(self, directory, descriptors):
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
        super().__init__("exporter", "--telemetry-dir", directory, "--web.listen-address", "127.0.0.1:0",
                         log=f"{directory}/log", preexec_fn=limit)

    def connect(self, first=b""):
        client = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        client.sendall(first)
        return client


@contextmanager
def running(descriptors=1024):
    with tempfile.TemporaryDirectory() as directory, Exporter(directory, descriptors) as exporter:
        yield exporter


def scrape(client):
    return exchange(client, REQUEST)


def status(client):
    return scrape(client)[0]


def finish(client):
    """Whether the rest of a request that began with GET is answered; the client of a connection that was closed sees that."""
    try:
        client.sendall(b"/-/healthy HTTP/1.0\r\n\r\n")
        return b" 200 " in client.recv(64)
    except ConnectionError:
        return False


def crowded():
    """250 silent connections and 20 that send a byte now and then: other clients are answered as ever.

    One keeps the connection that it had before, one comes anew each time: while all places are taken, a client that is
    new is told to (`Connection: close`), and a request after that gets no answer, as RFC 9112 §9.6 has it.
    """
    with running() as exporter, ExitStack() as stack:
        scraper = stack.enter_context(exporter.connect())
        answers = [status(scraper)]
        for _ in range(250):
            stack.enter_context(exporter.connect())
        slow = [stack.enter_context(exporter.connect(b"GET /metrics HTTP/1.1\r\nX: ")) for _ in range(20)]
        times = []
        for turn in range(400):
            with suppress(ConnectionError):  # It may have lost its place.
                slow[turn % 20].sendall(b"x")
            began = time.perf_counter()
            with exporter.connect() as newcomer:
                answers += [status(newcomer), status(scraper)]
            times.append(time.perf_counter() - began)
        report.expect(answers == [200] * 801, f"beside 270 slow clients: {Counter(answers)}")
        print(f"load: beside 250 silent and 20 slow clients: p99 {quantiles(times, n=100)[98] * 1e3:.1f} ms")


def abandoned():
    """10,000 connections that end in every way there is: none leaves a descriptor, and what was refused is counted."""
    with running() as exporter:
        with exporter.connect() as client:
            scrape(client)
        before = descriptors(exporter.pid)
        reset = struct.pack("ii", 1, 0)
        for turn in range(10_000):
            first = [b"", b"GET /metr", REQUEST, b"\0", REQUEST + b"GET"][turn % 5]
            client = exporter.connect(first)
            if turn % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            client.close()
        wait_for("the end of all connections", lambda: descriptors(exporter.pid) <= before, 60)
        with exporter.connect() as client:
            answer, body = scrape(client)
        report.expect(answer == 200, "no answer after 10,000 abandoned connections")
        refused = re.search(rb'http_requests_total{handler="rejected",code="400"} (\d+)', body)
        report.expect(refused and int(refused[1]) >= 1000, "requests that were refused are not counted")


def repeated(scrapes):
    """Memory after so many scrapes is what it was after a tenth of them."""
    with running() as exporter, exporter.connect() as client:
        answers = {status(client) for _ in range(scrapes // 10)}
        early = resident_bytes(exporter.pid)
        answers |= {status(client) for _ in range(scrapes - scrapes // 10)}
        late = resident_bytes(exporter.pid)
        report.expect(answers == {200}, f"while scraping: {answers}")
        # tools/build.sh relies on it.
        report.expect(threads(exporter.pid) == 1, f"the exporter has {threads(exporter.pid)} threads")
        report.expect(late - early <= 1 << 18, f"{scrapes} scrapes: resident from {early} to {late}")
        print(f"load: {scrapes} scrapes: {late / 2**20:.2f} MiB resident, {early / 2**20:.2f} after a tenth of them")


def starved():
    """100 connections with 40 descriptors: it goes on, does not spin, and all is well afterwards."""
    with running(descriptors=40) as exporter:
        with exporter.connect() as client:
            scrape(client)
        before = descriptors(exporter.pid)
        with ExitStack() as stack:
            clients = [stack.enter_context(exporter.connect(b"GET ")) for _ in range(100)]
            wait_for("the lack of descriptors", lambda: descriptors(exporter.pid) >= 39, 60)
            used = cpu_seconds(exporter.pid)
            time.sleep(1)
            used = cpu_seconds(exporter.pid) - used
            report.expect(used < 0.3, f"without descriptors it uses {used:.2f} s of CPU a second")
            answered = sum(finish(client) for client in clients)
            report.expect(answered >= 20, f"{answered} of 100 clients are answered with 40 descriptors")
        wait_for("the end of all connections", lambda: descriptors(exporter.pid) <= before, 60)
        with exporter.connect() as client:
            report.expect(status(client) == 200, "no answer once there are descriptors again")


crowded()
abandoned()
repeated(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
starved()
report.end("load")
