"""An exporter under test, and the clients that visit it."""

import contextlib
import json
import os
import socket
import subprocess
import time

from harness import Program, await_tracer, free_port, wait_for

TOKEN = "a-secret-of-the-bench"
PATIENCE = 5

MESSAGES = [
    {"type": "hello", "name": "proc", "ack": True},
    {"type": "declare", "metric": "counter", "name": "proc_things_total", "help": "Things.", "ack": True},
    {"type": "add", "name": "proc_things_total", "value": 1, "ack": True},
    {"type": "goodbye", "ack": True},
]


class Exporter(Program):
    """An exporter, a directory of its own with a recorder's segment, and its clients."""

    def __init__(self, segment, base, wrapper=(), is_mute=False):
        self.base, self.is_mute = base, is_mute
        self.directory = self.base / "telemetry"
        self.ingest = self.base / "ingest"
        self.token = self.base / "token"
        self.fixed_port = free_port()
        if not self.base.exists():
            self.directory.mkdir(parents=True)
            os.link(segment, self.directory / segment.name)  # The same file: whether it is locked says who lives.
            self.token.write_text(TOKEN)
            self.token.chmod(0o600)  # Or the exporter warns.
        super().__init__(
            "exporter", "--telemetry-dir", self.directory, "--linger.max", "2s",
            "--web.listen-address", f"127.0.0.1:{self.fixed_port}", "--web.bearer-token-file", self.token,
            "--ingest.socket", self.ingest, log=self.base / "exporter.log", wrapper=wrapper)
        wait_for("the start, or its refusal", lambda: self.has_started or self.process.poll() is not None)
        self.visited = time.monotonic()

    @property
    def has_started(self):
        """Whether it serves, by its own words, or where a fault may cost those, by the kernel's account."""
        if not self.is_mute:
            return "listen=" in self.log
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.ingest)) == 0

    def visit(self, may_hang=False):
        """What the clients get of all that there is to get: {what: answer, or `None` where the connection ended}."""
        # The token is looked at once a second, the directory when it has changed.
        time.sleep(max(0, self.visited + 1.05 - time.monotonic()))
        os.utime(self.token)
        os.utime(self.directory)
        ingested = self.publish(may_hang)
        page, health = self.ask(self.connect, ask_for_all, may_hang)
        self.visited = time.monotonic()
        return {"ingest": ingested, "/metrics": page, "/health": health}

    def publish(self, may_hang=False):
        """A whole run of a process at the ingest socket."""
        return self.ask(self.connect_ingest, lambda client: [tell(client, message) for message in MESSAGES], may_hang)

    def ask(self, connect, question, may_hang=False):
        """The answers to a question; two `None` where there is no connection, or no answer although there may be none."""
        try:
            with connect() as client:
                return question(client)
        except ConnectionError:
            return [None, None]
        except TimeoutError:
            if not may_hang:
                raise
            return [None, None]

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.fixed_port), PATIENCE)

    def connect_narrowly(self):
        """A connection whose kernel takes hardly anything before it is read."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # The least that there is.
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", self.fixed_port))
        return client

    def connect_ingest(self):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(str(self.ingest))
        return client

    @contextlib.contextmanager
    def traced(self, trace, *words):
        tracer = subprocess.Popen(["strace", "-f", "-yy", "-s", "160", "-o", str(trace), *words, "-p", str(self.process.pid)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await_tracer(self.pid, tracer.pid)
        try:
            yield
        finally:
            tracer.terminate()
            tracer.wait()


def ask_for_all(client):
    answers = [scrape(client, "/metrics"), scrape(client, "/health")]
    time.sleep(0.1)  # Stays until the exporter has asked the kernel whether the page has arrived.
    return answers


def request(path):
    fields = {"Host": "bench", "User-Agent": "Prometheus/3.0", "Authorization": f"Bearer {TOKEN}"}
    return "\r\n".join([f"GET {path} HTTP/1.1", *(f"{name}: {text}" for name, text in fields.items()), "", ""]).encode()


def scrape(client, path):
    """(status, body) of a whole answer; `None` when the connection ends before."""
    try:
        client.sendall(request(path))
        answer, _ = next_answer(client)
        return answer
    except ConnectionError:
        return None


def next_answer(client, data=b""):
    """The next answer, as (status, body), and what has arrived behind it; `None` when the connection ends before."""
    while b"\r\n\r\n" not in data or len(data) < whole_length(data):
        piece = client.recv(65536)
        if not piece:
            return None, b""
        data += piece
    length = whole_length(data)
    head, body = data[:length].split(b"\r\n\r\n", 1)
    return (int(head.split()[1]), body.decode()), data[length:]


def whole_length(data):
    head = data.split(b"\r\n\r\n")[0]
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return len(head) + 4 + int(fields[b"content-length"])


def tell(client, message):
    """The reply to a message; `None` when the connection has ended."""
    try:
        client.sendall(json.dumps(message).encode() + b"\n")
        line = client.makefile().readline()
        return json.loads(line) if line else None
    except ConnectionError:
        return None
