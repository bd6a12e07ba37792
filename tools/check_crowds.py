#!/usr/bin/env python3
"""Checks that both programs answer every probe, scrape and command beside crowds of hostile clients.

usage: tools/check_crowds.py [--clients N] [--probes N] [--only KIND[,KIND]] [--program recorder|exporter]

The crowd is a process of its own; its clients come again whenever they are closed. Meanwhile another client probes by a new
connection each time, scrapes by one connection that it keeps, and stops a stream with the token. Each of these must be
answered. Latencies are printed and not judged, for they are the machine's: a bench takes --clients 1000 --probes 2000.
"""

import argparse
import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

from harness import Program, Report, command_stream, exchange, resident_bytes, wait_for, write_configuration

TOKEN = "a-token-for-crowds"
KINDS = [
    "heads", "bodies", "chunks", "silent", "unread", "pipelining", "kept", "scrapes", "closing", "halfclosed", "refused", "websocket",
    "unix",
]  # fmt: skip
report = Report()


class Crowd:
    """Hostile clients of one kind, in this process."""

    def __init__(self, kind, address, count):
        self.kind, self.address, self.count = kind, address, count
        self.opened = 0
        path = address["page"]
        get = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        post = b"POST /eventsub HTTP/1.1\r\nHost: x\r\n"
        self.first = {
            "heads": b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: ", "unix": b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: ",
            "bodies": post + b"Content-Length: 60000\r\n\r\na", "chunks": post + b"Transfer-Encoding: chunked\r\n\r\nea60\r\na",
            "unread": get * 200, "pipelining": get * 32, "kept": b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "scrapes": get,
            "halfclosed": b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: ", "refused": b"\0",
            "websocket": b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        }.get(kind, b"")  # fmt: skip

    async def open(self):
        self.opened += 1
        if self.opened == self.count:
            print("ready", flush=True)
        if self.kind == "unix":
            return await asyncio.open_unix_connection(self.address["unix"])
        client = socket.socket()
        client.setblocking(False)
        if self.kind == "unread":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.address["port"]))
        except OSError:
            client.close()
            raise
        # A reader that is full stops reading, as is wanted of those that do not read.
        return await asyncio.open_connection(sock=client, limit=1024)

    async def client(self, number):
        await asyncio.sleep(number * 0.0005)
        while True:
            writer = None
            try:
                reader, writer = await self.open()
                writer.write(self.first)
                await self.hold(reader, writer)
            except OSError:
                await asyncio.sleep(0.05)
            finally:
                if writer:
                    writer.close()
            await asyncio.sleep(0)

    async def hold(self, reader, writer):
        if self.kind == "closing":
            return
        if self.kind == "halfclosed":
            writer.write_eof()
        while self.kind == "unread":
            await asyncio.sleep(1)
            writer.write(b"GET ")  # Fails once the connection has been closed.
            if writer.is_closing():
                return
        while True:
            try:
                received = await asyncio.wait_for(reader.read(1 << 16), 1)
            except asyncio.TimeoutError:
                if self.kind in ("heads", "bodies", "chunks", "unix"):
                    writer.write(b"b")
                continue
            if not received:
                return
            if self.kind == "pipelining" and received.endswith(b"\n"):
                writer.write(self.first)
                await writer.drain()

    async def run(self):
        await asyncio.gather(*(self.client(number) for number in range(self.count)))


@contextmanager
def crowd(kind, address, count):
    command = [sys.executable, __file__, "--crowd", kind, json.dumps(address), "--clients", str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=raise_limit)
    try:
        assert process.stdout.readline() == b"ready\n", f"the crowd {kind} does not come"
        yield
    finally:
        process.kill()
        process.wait()


def raise_limit():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))


class Server(Program):
    """One of the two programs, on a port and a local socket."""

    def __init__(self, name, folder):
        self.folder = Path(folder)
        self.socket = f"{folder}/{name}.sock"
        self.page = "/metrics" if name == "exporter" else "/api/recording/active"
        listen = ["--web.listen-address", "127.0.0.1:0", "--web.listen-address", f"unix:{self.socket}"]
        arguments = ["--telemetry-dir", folder, "--health.startup-grace", "1h"] if name == "exporter" else ["--config", self.configuration()]
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
        super().__init__(name, *arguments, *listen, log=self.folder / f"{name}.log", preexec_fn=limit)

    def configuration(self):
        (self.folder / "token").write_text(TOKEN)
        (self.folder / "secret").write_text("an-eventsub-secret")
        os.chmod(self.folder / "token", 0o600)
        os.chmod(self.folder / "secret", 0o600)
        return write_configuration(
            self.folder, [command_stream("od", "sleep", 600, record="on_demand")], name="crowded", telemetry_dir=str(self.folder),
            web={"bearer_token_file": f"{self.folder}/token"}, twitch={"eventsub_secret_file": f"{self.folder}/secret"})

    def connect(self, local=False):
        if not local:
            return socket.create_connection(("127.0.0.1", self.port), timeout=20)
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        client.connect(self.socket)
        return client


def ask_on(client, message):
    """The status of one answer; what went wrong instead."""
    try:
        return exchange(client, message)[0] or "closed"
    except OSError as error:
        return type(error).__name__


def request(method, path, fields=""):
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n".encode()


def once(server, message, local=False):
    try:
        with server.connect(local) as client:
            return ask_on(client, message)
    except OSError as error:
        return type(error).__name__


def ask(server, kept, probes, local):
    """What another client sees: how often each answer came, and how long each took."""
    answers, times = {}, []
    command = request("POST", "/api/recording/stop/od", f"Authorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n")
    for turn in range(probes):
        questions = [("probe", lambda: once(server, request("GET", "/health"), local and turn % 2 == 0))]
        if turn % 2 == 0:
            questions.append(("scrape", lambda: ask_on(kept, request("GET", server.page))))
        if server.name == "exporter" and turn % 4 == 1:
            questions.append(("own probe", lambda: once(server, request("GET", "/-/healthy"))))
            questions.append(("new scrape", lambda: once(server, request("GET", "/metrics"))))
        if server.name == "recorder" and turn % 4 == 1:
            questions.append(("stop", lambda: once(server, command)))
        for name, question in questions:
            began = time.perf_counter()
            answer = question()
            times.append(time.perf_counter() - began)
            counts = answers.setdefault(name, {})
            counts[answer] = counts.get(answer, 0) + 1
    return answers, times


def known_client(server):
    """A connection on which two scrapes were answered before the crowd; an earlier crowd may still hold its places."""
    def connection():
        client = server.connect()
        if [ask_on(client, request("GET", server.page)) for _ in range(2)] == [200, 200]:
            return client
        client.close()

    return wait_for(f"a connection that the {server.name} keeps without a crowd", connection, 60)


def check(server, kind, clients, probes):
    address = {"port": server.port, "unix": server.socket, "page": server.page}
    with known_client(server) as kept, crowd(kind, address, clients):
        answers, times = ask(server, kept, probes, kind == "unix")
    for name, counts in answers.items():
        report.expect(set(counts) == {200}, f"{server.name}, {clients} {kind}: {name} {counts}")
    asked = sum(sum(counts.values()) for counts in answers.values())
    good = sum(counts.get(200, 0) for counts in answers.values())
    cuts = quantiles(times, n=100)
    print(
        f"crowds: {server.name:8} {clients:5} {kind:10} {good:5} of {asked:5} answered, p50 {cuts[49] * 1e3:6.1f} "
        f"p99 {cuts[98] * 1e3:6.1f} max {max(times) * 1e3:6.1f} ms, {resident_bytes(server.pid) / 2**20:5.1f} MiB",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--probes", type=int, default=60)
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--program", default="exporter,recorder")
    parser.add_argument("--crowd", nargs=2)
    options = parser.parse_args()
    if options.crowd:
        return asyncio.run(Crowd(options.crowd[0], json.loads(options.crowd[1]), options.clients).run())
    for name in options.program.split(","):
        with tempfile.TemporaryDirectory() as folder:
            with Server(name, folder) as server:
                for kind in options.only.split(","):
                    if kind != "websocket" or name == "recorder":
                        check(server, kind, options.clients, options.probes)
                # Otherwise the crowds were too small to show anything.
                full = options.clients <= 256 or "Connections closed to make room" in server.log
                report.expect(full, f"{name}: its places were never all taken")
                report.expect(server.stop() == 0, f"{name} ends with {server.process.returncode}")
    report.end("crowds")


main()
