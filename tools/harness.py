"""What all checks, benches and drivers share: the built programs, ports, waiting, pages, processes, Prometheus, and media.

A script in another directory adds tools/ to its search path first.
"""

import contextlib
import json
import os
import pathlib
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILT = pathlib.Path(os.environ.get("STREAMVAULT_BIN", ROOT / ".build" / "debug")).resolve()

PACKET_BYTES = 188
# Seven null packets of an MPEG transport stream.
PACKETS = (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 7


# Programs.

def program(name):
    """The path of streamvault-recorder or streamvault-exporter; exits if it is not built."""
    path = BUILT / f"streamvault-{name}"
    if not path.is_file():
        sys.exit(f"{path}: not built (swift build, or name its directory in STREAMVAULT_BIN)")
    return str(path)


def flags(name):
    """The flags in --help: {"--flag": "STREAMVAULT_VARIABLE"}."""
    text = subprocess.run([program(name), "--help"], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^  (--[a-z.-]+).*?(?:\[(STREAMVAULT_\w+)\])", text, re.M | re.S)
    assert found, f"no flags in the help of {name}"
    return dict(found)


class Report:
    """Collects failures, so that one run shows all of them."""

    def __init__(self):
        self.problems = []
        self.checked = 0

    def expect(self, holds, problem):
        self.checked += 1
        if not holds:
            self.problems.append(problem)

    def end_if_wrong(self, subject):
        for problem in self.problems:
            print(f"{subject}: {problem}", file=sys.stderr)
        if self.problems:
            sys.exit(1)

    def end(self, subject):
        self.end_if_wrong(subject)
        print(f"{subject}: {self.checked} checks passed")


# Waiting, ports, and requests.

def wait_for(what, condition, seconds=30, interval=0.02):
    """Returns the first true value of `condition`; a server that does not answer yet counts as false.

    Raises TimeoutError after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            if value := condition():
                return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(interval)


GIVEN_PORTS = set()


def free_port():
    """A port outside the range that the kernel gives to clients, and never the same twice: a server may return to it later."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in GIVEN_PORTS:
                GIVEN_PORTS.add(port)
                return port


def fetch(url, accept="*/*", method="GET", headers=None, seconds=10):
    """The body of an answer, as text."""
    request = urllib.request.Request(url, method=method, headers={"Accept": accept, **(headers or {})})
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return answer.read().decode()


def exchange(client, request):
    """Sends a request on a socket and reads the answer to its end: status and body; status None if the connection ends before."""
    client.sendall(request)
    text = b""
    while b"\r\n\r\n" not in text:
        if not (part := client.recv(65536)):
            return None, b""
        text += part
    head, _, body = text.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    while len(body) < length:
        if not (part := client.recv(65536)):
            return None, body
        body += part
    return int(head.split()[1]), body


def samples(page):
    """The samples of a page in a text format: [(name, labels, value)]."""
    found = []
    for line in page.splitlines():
        if line and not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*?)\})? (\S+)(?: .*)?", line).groups()
            found.append((name, dict(re.findall(r'(\w+)="(.*?)"', labels or "")), float(value)))
    return found


def metric(page, name, **labels):
    """The value of the first sample that has these labels; 0 if there is none."""
    return next((value for found, has, value in samples(page) if found == name and labels.items() <= has.items()), 0)


# Processes.

class Processes:
    """All processes that a check starts, so that none is left when it ends."""

    def __init__(self):
        self.all = []
        self.lock = threading.Lock()
        self.is_over = False

    def start(self, command, log=None, **options):
        """Starts a command; its output goes to the file `log`, from its beginning."""
        with self.lock, contextlib.ExitStack() as stack:
            if self.is_over:
                raise InterruptedError("the check is over")
            if log:
                options["stdout"] = options["stderr"] = stack.enter_context(open(log, "wb"))
            process = subprocess.Popen([str(word) for word in command], stdin=options.pop("stdin", subprocess.DEVNULL), **options)
            self.all.append(process)
            return process

    def end_all(self):
        with self.lock:
            self.is_over = True
            for process in reversed(self.all):
                kill(process)
            self.all.clear()


def kill(process):
    """Kills a process, also a stopped one, and waits for it."""
    if process.poll() is None:
        process.kill()
    process.wait()


def await_exit(process, seconds):
    """Waits for the end without polling, so that the time of the return is the time of the end; the exit status."""
    if process.returncode is not None:
        return process.returncode
    descriptor = os.pidfd_open(process.pid)
    try:
        if not select.select([descriptor], [], [], seconds)[0]:
            raise TimeoutError(f"{process.args[0]} does not end within {seconds} s")
    finally:
        os.close(descriptor)
    return process.wait()


class Program:
    """A started recorder or exporter with its log file; killed at the end of its `with` block."""

    def __init__(self, name, *arguments, log, wrapper=(), start=subprocess.Popen, **options):
        self.name, self.log_path = name, pathlib.Path(log)
        command = [str(word) for word in (*wrapper, program(name), *arguments)]
        with open(log, "wb") as output:
            self.process = start(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        kill(self.process)

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def line(self, text, seconds=60):
        """Waits for a line of the log that contains `text`; fails at once if the program ends without it."""
        def found():
            has_ended = self.process.poll() is not None
            line = next((line for line in self.log.splitlines() if text in line), None)
            if not line and has_ended:
                raise AssertionError(f"{self.name} ended without {text!r}:\n{self.log}")
            return line

        return wait_for(f"{text!r} in the log of the {self.name}", found, seconds)

    @property
    def addresses(self):
        """The addresses on which it listens, as its log names them."""
        return re.search(r'listen="?([^ "]+)', self.line("listen="))[1].split(",")

    @property
    def url(self):
        return f"http://{self.addresses[0]}"

    @property
    def port(self):
        return int(self.addresses[0].rpartition(":")[2])

    def stop(self, number=signal.SIGTERM, seconds=60):
        """Sends a signal; the exit status."""
        self.process.send_signal(number)
        return await_exit(self.process, seconds)


def write_configuration(folder, streams, file="recorder.json5", **fields):
    """Writes a recorder's configuration, with its directories in `folder`; the path of the file."""
    folder = pathlib.Path(folder)
    document = {
        "name": "cam", "recordings_dir": str(folder / "recordings"), "telemetry_dir": str(folder / "telemetry"),
        "web": {"listen_address": ["127.0.0.1:0"]}, "streams": streams, **fields,
    }
    pathlib.Path(document["telemetry_dir"]).mkdir(exist_ok=True)
    path = folder / file
    path.write_text(json.dumps(document, indent=2))
    return path


def command_stream(name, *argv, **fields):
    return {"name": name, "source": {"type": "command", "argv": [str(word) for word in argv]}, **fields}


def hls_stream(name, url, **fields):
    return {"name": name, "source": {"type": "hls", "url": url}, **fields}


# What the kernel knows of a process.

def status_field(pid, field, thread=None):
    """A field of /proc/PID/status, or of one of its threads; "0" if the process is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        path = f"/proc/{pid}/task/{thread}/status" if thread else f"/proc/{pid}/status"
        return pathlib.Path(path).read_text().split(f"\n{field}:")[1].split()[0]
    return "0"


def resident_bytes(pid, peak=False):
    return 1024 * int(status_field(pid, "VmHWM" if peak else "VmRSS"))


def cpu_seconds(pid):
    """Seconds of a processor that a process has used, without its children."""
    times = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def await_tracer(pid, tracer, seconds=30):
    """Waits until `tracer` traces all threads of a process."""
    wait_for("the tracer of all threads", lambda: all(
        status_field(pid, "TracerPid", task) == str(tracer) for task in os.listdir(f"/proc/{pid}/task")), seconds)


# Prometheus.

class Prometheus:
    """A Prometheus server with its files in `folder`."""

    def __init__(self, folder, scrape_configs, processes, interval=1, timeout=None, rule_files=(), name="prometheus", arguments=()):
        self.address = f"127.0.0.1:{free_port()}"
        self.data = folder / f"{name}-data"
        times = {"scrape_interval": f"{interval}s", "evaluation_interval": f"{interval}s"}
        times |= {"scrape_timeout": f"{timeout}s"} if timeout else {}
        config = folder / f"{name}.json"
        config.write_text(json.dumps({
            "global": times, "rule_files": [str(path) for path in rule_files], "scrape_configs": scrape_configs,
        }))
        self.process = processes.start(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.data}",
             f"--web.listen-address={self.address}", *arguments], folder / f"{name}.log")

    def await_ready(self):
        wait_for("Prometheus", lambda: fetch(f"http://{self.address}/-/ready"), 60)

    def ask(self, path, method="GET", **parameters):
        query = urllib.parse.urlencode(parameters, doseq=True)
        return json.loads(fetch(f"http://{self.address}/api/v1/{path}?{query}", method=method, seconds=300))["data"]

    def result(self, expression, at=None):
        """The result of an instant query as Prometheus returns it; ValueError if Prometheus rejects the query."""
        try:
            return self.ask("query", query=expression, **({"time": f"{at:.3f}"} if at else {}))["result"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # It listens before it can answer.
                raise
            raise ValueError(f"Prometheus rejects {expression}: {error.read().decode()}") from error

    def query(self, expression):
        """[(labels, value)] of an instant query."""
        return [(found["metric"], float(found["value"][1])) for found in self.result(expression)]

    def value(self, expression, default=None):
        """The value of the first series."""
        return next((value for _, value in self.query(expression)), default)

    def await_value(self, expression, wanted, seconds=15):
        wait_for(f"{expression} = {wanted}", lambda: self.value(expression) == wanted, seconds)

    def rule_groups(self):
        return self.ask("rules")["groups"]

    def await_evaluation(self, seconds=20):
        """Waits until every rule group has been evaluated after now."""
        now = time.time()

        def is_later(group):
            # In nanoseconds, which is more than Python reads.
            text = re.sub(r"\.\d+", "", group["lastEvaluation"])
            return datetime.fromisoformat(text).timestamp() > now

        wait_for("the evaluation of the rules", lambda: all(map(is_later, self.rule_groups())), seconds)

    def own(self, *names):
        """Values of the server's own metrics; the sum of all series of each."""
        page = samples(fetch(f"http://{self.address}/metrics"))
        return [sum(value for found, _, value in page if found == name) for name in names]


# Media.

def run(*command, seconds=120):
    """Runs a command to its end: exit status and all output."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=seconds)
    return done.returncode, done.stdout + done.stderr


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *map(str, arguments)], check=True)


def picture(path, seconds, size="160x90", rate=25, key_frames=None, options=(), form=("-f", "mpegts")):
    """Encodes a test picture; `key_frames` is the number of pictures from one key frame to the next, a second by default."""
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}", "-c:v", "libx264",
           "-preset", "ultrafast", "-threads", 1, "-g", key_frames or rate, *options, *form, path)


def duration(path, *options):
    """Seconds that ffprobe reads from a media file."""
    _, text = run("ffprobe", "-v", "error", *options, "-show_entries", "format=duration", "-of", "csv=p=0", path)
    return float(text)
