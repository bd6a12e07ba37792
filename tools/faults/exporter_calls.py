"""Every system call of the exporter's server made to fail: it lives on, leaks nothing, and the next scrape is whole."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time
from typing import NamedTuple

from bench import Bench, until
from programs import program
from stage import free_port
from strace import Call, NotMade, calls

TOKEN = "a-secret-of-the-bench"
MARKS = [("Exporter started", "serving")]
UP = 'streamvault_recorder_up{recorder="cam"}'
RECORDING = 'streamvault_recorder_state{recorder="cam",streamvault_recorder_state="recording"}'
READ_ERRORS = "streamvault_exporter_segment_read_errors_total"
PATIENCE = 5
LEAVING = 15
# Pages that no kernel holds at once.
MANY = 100
# More than a fault that lasts is met while clients wait in vain, unless the exporter spins.
MOST_MEETINGS = 500

DEFAULT = ["ENOMEM"]
ERRORS = {
    "accept": ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ECONNABORTED", "EPERM"],
    "recvfrom": ["ECONNRESET", "ENOMEM"], "sendmsg": ["EPIPE", "ECONNRESET", "ENOBUFS", "ENOMEM", "EAGAIN"],
    "socket": ["EMFILE", "ENFILE", "ENOMEM"], "bind": ["EADDRINUSE", "EACCES", "ENOMEM"], "listen": ["EADDRINUSE"],
    "openat": ["EMFILE", "ENFILE", "EACCES", "EIO", "ENOMEM", "ENOSPC"], "pread64": ["EIO", "retval=0", "retval=64"],
    "read": ["EIO"], "getdents64": ["EIO", "ENOMEM"], "newfstatat": ["EACCES", "EIO", "ENOMEM"], "poll": ["ENOMEM"],
    "fcntl F_OFD_SETLK": ["ENOLCK", "EAGAIN"], "fcntl F_OFD_GETLK": ["ENOLCK"], "ftruncate": ["ENOSPC", "EIO"],
    "fallocate": ["ENOSPC", "EIO"], "mmap": ["ENOMEM"],
    "rename": ["EACCES", "ENOSPC", "EIO"], "unlink": ["EACCES", "EIO"], "write": ["ENOSPC", "EIO"], "ioctl": ["EIO"],
    "close": ["EIO"], "chmod": ["EPERM", "EIO"], "pipe2": ["EMFILE", "ENFILE"],
}


# What faults have cost that have found a defect: each is part of every sample.
FOUND = {
    "`getdents64` of telemetry, serving: EIO on": "nothing",
    "`openat` of telemetry, serving: EMFILE on": "nothing",
    "`fcntl F_SETFL` of web connection, serving: ENOMEM once": "scrape lost, probe lost",
    "`ioctl TIOCOUTQ` of web connection, serving: EIO on": "nothing",
    "`poll` of web socket, serving: ENOMEM once": "nothing",
}


class Cell(NamedTuple):
    """A call, what it returns instead, and how often: `once`, from its place `on`, or `often`: every third time from there."""

    call: Call
    target: str
    error: str
    when: str

    @property
    def subject(self):
        return f"`{self.call.title}` of {self.target}, {self.call.stage}"

    def strace(self, base):
        """The fault, as strace is told: on the file, where it is one of the exporter's that was started in `base`."""
        is_file = self.target.split("/")[0] in ("telemetry", "token", "ingest")
        place = self.call.place if is_file else self.call.place_of_all
        words = ["-e", f"trace={self.call.name}", "-e", f"inject={self.call.name}:{self.injection(place)}"]
        return words + (["-P", str(base / self.target)] if is_file else [])

    def injection(self, place):
        error = self.error if "=" in self.error else f"error={self.error}"
        # Two polls in turn must not be hit in turn.
        return f"{error}:when=" + {"once": f"{place}", "on": f"{place}+", "often": f"{place}+3"}[self.when]


class Exporter:
    """An exporter, a directory of its own with a recorder's segment, and its clients."""

    def __init__(self, segment, base, wrapper=(), is_mute=False):
        self.base, self.is_mute = base, is_mute
        self.directory = self.base / "telemetry"
        self.ingest = self.base / "ingest"
        self.token = self.base / "token"
        self.output = self.base / "exporter.log"
        self.port = free_port()
        if not self.base.exists():
            self.directory.mkdir(parents=True)
            os.link(segment, self.directory / segment.name)  # The same file: whether it is locked says who lives.
            self.token.write_text(TOKEN)
        command = [*wrapper, program("exporter"), "--telemetry-dir", self.directory, "--linger.max", "2s",
                   "--web.listen-address", f"127.0.0.1:{self.port}", "--web.bearer-token-file", self.token,
                   "--ingest.socket", self.ingest]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=output)
        until("the start, or its refusal", lambda: self.has_started or self.process.poll() is not None)
        self.visited = time.monotonic()

    @property
    def log(self):
        return self.output.read_text(errors="replace")

    @property
    def has_started(self):
        """Whether it serves, by its own words, or where a fault may cost those, by the kernel's account."""
        if not self.is_mute:
            return "listen=" in self.log
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.ingest)) == 0

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

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
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def connect_narrowly(self):
        """A connection whose kernel takes hardly anything before it is read."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # The least that there is.
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", self.port))
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
        status = pathlib.Path(f"/proc/{self.process.pid}/status")
        until("strace", lambda: f"TracerPid:\t{tracer.pid}\n" in status.read_text())
        try:
            yield
        finally:
            tracer.terminate()
            tracer.wait()


MESSAGES = [
    {"type": "hello", "name": "proc", "ack": True},
    {"type": "declare", "metric": "counter", "name": "proc_things_total", "help": "Things.", "ack": True},
    {"type": "add", "name": "proc_things_total", "value": 1, "ack": True},
    {"type": "goodbye", "ack": True},
]


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


def series(page):
    """The names and labels of all series but those of the process at the ingest socket, which comes and goes."""
    names = (line.rsplit(" ", 1)[0] for line in page.splitlines() if not line.startswith("#"))
    return {name for name in names if 'recorder="proc"' not in name}


def value(page, name):
    return next(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name + " "))


class House:
    """Two segments for exporters: of a recorder that lives, and of one that has ended."""

    def __init__(self, base, sample):
        self.base = pathlib.Path(base) / "exporters"
        self.ended, self.living = (Bench(pathlib.Path(base) / name, sample) for name in ("ended", "living"))
        recorder = self.ended.start([])
        assert recorder.stop()[0] == 0
        self.living.start([])
        with self.exporter("first") as exporter:
            until("the recorder", lambda: value(exporter.visit()["/metrics"][1], RECORDING) == 1)
            self.series = series(exporter.visit()["/metrics"][1])

    def exporter(self, name, wrapper=(), is_over=False, is_mute=False):
        segment = (self.ended if is_over else self.living).telemetry / "cam.telemetry"
        exporter = Exporter(segment, self.base / name, wrapper, is_mute)
        while not wrapper and "Address already in use" in exporter.log:  # Somebody else has taken the port meanwhile.
            exporter = Exporter(segment, self.base / name)
        return exporter

    def close(self):
        for bench in (self.ended, self.living):
            bench.close()

    def check(self, answers, is_over=False):
        """Everything is answered, and the page has all of its series."""
        assert None not in answers.values(), answers
        (status, page), (health, report) = answers["/metrics"], answers["/health"]
        assert status == 200 and self.series <= series(page), sorted(self.series - series(page))
        assert value(page, UP) == (0 if is_over else 1) and health == 200, report
        assert all(reply and reply.get("ok") for reply in answers["ingest"]), answers["ingest"]


def enumerate_cells(house):
    """Starts, serves and leaves once without a fault; every call is a cell for each error."""
    trace = house.base / "trace"
    with house.exporter("dry", ["strace", "-D", "-f", "-yy", "-s", "160", "-o", str(trace)]) as exporter:
        cells = cells_of(exporter, calls(trace, MARKS, since="SIGPIPE"), "start")
    with house.exporter("dry-too", is_over=True) as exporter:
        exporter.visit()
        with exporter.traced(trace):
            exporter.visit()
        cells += cells_of(exporter, calls(trace), "serving")
        exporter.publish()
        with exporter.traced(trace):
            leave(exporter)
        return cells + cells_of(exporter, calls(trace), "leaving")


def cells_of(exporter, made, stage):
    first = {}
    for call in made:
        target = target_name(exporter, call.target)
        # A signal handler's byte into the program's own pipe cannot fail; what is open at the end is closed by that.
        if call.stage == "start" and (call.name, target) != ("write", "pipe") and (call.name, stage) != ("close", "leaving"):
            first.setdefault((call.title, target), Cell(call._replace(stage=stage), target, "", ""))
    cells, often = [], set()
    for cell in first.values():
        for error in errors_of(cell.call):
            cells.append(cell._replace(error=error, when="once"))
        if stage == "serving":
            cells.append(cell._replace(error=errors_of(cell.call)[0], when="on"))
        if cell.call.name not in often:
            often.add(cell.call.name)
            cells.append(cell._replace(error="EINTR", when="often"))
        if stage == "serving" and cell.call.name in ("recvfrom", "sendmsg") and cell.target == "web connection":
            cells.append(cell._replace(error="short", when="often"))
    return cells


def errors_of(call):
    return ERRORS.get(call.title) or ERRORS.get(call.name, DEFAULT)


def target_name(exporter, target):
    """A name that is the same in every exporter."""
    for beginning, name in (("TCP", "web"), ("UNIX", "ingest")):
        if target.startswith(beginning):
            return f"{name} connection" if "->" in target else f"{name} socket"
    if target.startswith("pipe"):
        return "pipe"
    target = target.replace(f"{exporter.base}/", "").replace("exporter.log", "standard output")
    return re.sub(r"^/proc/\d+/", "/proc/self/", target) or "all"


def leave(exporter):
    """Tells it to leave, and scrapes until it has left; the exit status, or `None` when it has not in time."""
    end = time.monotonic() + LEAVING
    exporter.process.send_signal(signal.SIGTERM)
    until("its wait", lambda: "Waiting for the last word" in exporter.log or exporter.process.poll() is not None, 2)
    while exporter.process.poll() is None and time.monotonic() < end:
        exporter.ask(exporter.connect, lambda client: scrape(client, "/metrics"), may_hang=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            exporter.process.wait(1)
    return exporter.process.poll()


def run_cell(house, cell, number):
    name = f"cell-{number}"
    if cell.error == "short":
        return check_short(house, cell, name)
    check = {"start": check_start, "serving": check_serving, "leaving": check_leaving}[cell.call.stage]
    try:
        return check(house, cell, name)
    finally:
        shutil.rmtree(house.base / name, ignore_errors=True)


def check_start(house, cell, name):
    """It starts and serves, or says in one line why not; the next start is none the worse."""
    trace = house.base / f"{name}.trace"
    command = ["strace", "-D", "-f", "--quiet=attach,exit,path-resolution", "-o", trace, *cell.strace(house.base / name)]
    with house.exporter(name, command, is_mute=cell.target == "standard output") as exporter:
        if has_started := exporter.has_started:
            house.check(exporter.visit())
        else:
            lines = exporter.log.splitlines()
            assert exporter.process.wait() == 1 and len(lines) == 1 and lines[0].startswith("streamvault-exporter: "), lines
        met(trace)
    with house.exporter(name) as exporter:
        house.check(exporter.visit())
    return "nothing" if has_started else "start refused"


def met(trace):
    """How often the fault was met."""
    count = trace.read_text(errors="replace").count("(INJECTED)")
    if count == 0:
        raise NotMade(trace)
    return count


def check_short(house, cell, name):
    """A client sends a request byte by byte, then so many that no kernel holds the answers before it reads."""
    trace = house.base / f"{name}.trace"
    with house.exporter(name) as exporter, exporter.traced(trace, "-e", f"trace={cell.call.name}"):
        with exporter.connect_narrowly() as client:
            for byte in request("/metrics"):
                client.sendall(bytes([byte]))
                time.sleep(0.002)  # So that most arrive alone.
            client.sendall(request("/metrics") * (MANY - 1))
            data = b""
            for _ in range(MANY):
                (status, page), data = next_answer(client, data)
                assert status == 200 and house.series <= series(page), sorted(house.series - series(page))
    made = [call for call in calls(trace) if target_name(exporter, call.target) == cell.target]
    at_once = MANY if cell.call.name == "sendmsg" else len(request("/metrics")) // 10
    assert len(made) > at_once, f"only {len(made)} calls: none was short"
    return "nothing"


def check_serving(house, cell, name):
    """It lives on; what it answers meanwhile is whole; afterwards all is as before, and no descriptor is left open."""
    trace = house.base / f"{name}.trace"
    with house.exporter(name) as exporter:
        house.check(exporter.visit())
        open_before = settled(exporter)
        with exporter.traced(trace, *cell.strace(exporter.base)):
            answers = exporter.visit(may_hang=cell.when == "on" or cell.target == "ingest connection")
        count = met(trace)
        assert exporter.process.poll() is None, f"ended with {exporter.process.returncode}:\n{exporter.log}"
        assert count < MOST_MEETINGS, f"met {count} times: it spins"
        cost = cost_of(house, answers)
        house.check(exporter.visit())
        if cell.call.name != "close":  # The tracer keeps the kernel from closing it.
            # A page that a client has not taken is given up after 10 s.
            until("no descriptor more than before", lambda: exporter.descriptors() <= open_before, 15)
        return cost


def settled(exporter):
    """The open descriptors, once the connections of the clients are closed."""
    counts = [0]

    def is_settled():
        counts.append(exporter.descriptors())
        time.sleep(0.05)
        return counts[-1] == counts[-2]

    until("the end of the connections", is_settled)
    return counts[-1]


def cost_of(house, answers):
    """What the clients miss; what they get is right."""
    words = []
    if answers["/metrics"] is None:
        words.append("scrape lost")
    else:
        status, page = answers["/metrics"]
        assert status == 200 and house.series <= series(page), (status, sorted(house.series - series(page)))
        if value(page, UP) != 1:
            errors = [line for line in page.splitlines() if line.startswith(READ_ERRORS) and not line.endswith(" 0")]
            assert errors, "not up, and nothing counted"
            words.append("up 0, counted")
    if answers["/health"] is None:
        words.append("probe lost")
    else:
        # The process whose connection is lost counts as dead; a recorder of whom nothing is known does not.
        recorders = {one["recorder"]: one["status"] for one in json.loads(answers["/health"][1])["recorders"]}
        assert recorders["cam"] in ("pass", "warn"), answers["/health"]
    replies = answers["ingest"]
    if None in replies:
        words.append("ingest connection lost")
    elif not all(reply.get("ok") for reply in replies):
        words.append("run refused: " + next(reply["reason"] for reply in replies if not reply.get("ok")))
    return ", ".join(words) or "nothing"


def check_leaving(house, cell, name):
    """It leaves in time, with status 0, and its socket's path is free for the next."""
    trace = house.base / f"{name}.trace"
    with house.exporter(name, is_over=True) as exporter:
        exporter.visit()
        exporter.publish()
        with exporter.traced(trace, *cell.strace(exporter.base)):
            assert leave(exporter) == 0, exporter.log
        met(trace)
        log = exporter.log
    with house.exporter(name) as exporter:
        house.check(exporter.visit(), is_over=True)
    return "nothing" if 'reason="last word collected"' in log else "last word not collected"
