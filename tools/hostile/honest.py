"""Who must not notice anything: a scraper, probes, the holder of the token, and one stream."""

import http.client
import re
import socket
import threading
import time

# An interval of the heartbeat and one of the scrape, and what may delay each of them: a scrape beside hostile clients,
# a recorder that is stopped for a while by SIGSTOP. Together they were seen to take about four.
LOST_SECONDS = 5
TIMEOUT = 5  # A kubelet's, with the probes of k8s/.


class Client:
    """Asks one thing at a fixed rate, and notes each answer."""

    def __init__(self, what, address, port, path, accept, period=0.5, keeps=False, method="GET", headers=None):
        self.what, self.address, self.port, self.path, self.accept = what, address, port, path, accept
        self.period, self.keeps, self.method, self.headers = period, keeps, method, headers or {}
        self.connection = None
        self.times, self.failures = [], []

    def run(self, over):
        while not over.is_set():
            began = time.time()
            try:
                status, body = self.ask()
                problem = self.accept(status, body)
            except (OSError, http.client.HTTPException) as error:
                self.drop()
                problem = f"{type(error).__name__} {error}"
            took = time.time() - began
            if problem:
                self.failures.append((began, took, problem))
            else:
                self.times.append(took)
            over.wait(max(0, self.period - took))

    def ask(self):
        if not self.connection:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT, source_address=(self.address, 0))
        self.connection.request(self.method, self.path, headers=self.headers)
        response = self.connection.getresponse()
        body = response.read().decode(errors="replace")
        if not self.keeps or response.will_close:
            self.drop()
        return response.status, body

    def drop(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Canary:
    """A server on loopback that only a recorder could be made to ask, by an origin that is public."""

    def __init__(self, port):
        self.requests = []
        self.listener = socket.create_server(("127.0.0.1", port), backlog=128)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            client, peer = self.listener.accept()
            self.requests.append((time.time(), peer))
            client.close()


def ok(status, body):
    return None if status == 200 else f"status {status}: {body[:200]}"


class Page:
    """What each scrape must show of the honest recorder: all of its own, and counters that never go back."""

    WANTED = ["recorder_up", "recorder_runs_total", "recordings_active", "written_bytes_total", "finalize_errors_total", "disk_free_bytes"]

    def __init__(self, name):
        self.name = name
        self.earlier = []  # [(time, {series: value})] of the last scrapes.
        self.body = ""

    def accept(self, status, body):
        if status != 200:
            return f"status {status}"
        self.body, found = body, {}
        for series, value in re.findall(r"^(streamvault_\w+\{[^\n]*\}) (\S+)$", body, re.M):
            if f'recorder="{self.name}"' in series:
                found[series] = float(value)
        for wanted in self.WANTED:
            if not any(series.startswith(f"streamvault_{wanted}{{") for series in found):
                return f"no streamvault_{wanted} of {self.name}"
        runs = next(value for series, value in found.items() if series.startswith("streamvault_recorder_runs_total{"))
        now = time.monotonic()
        self.earlier = [one for one in self.earlier if one[0] > now - 10] + [(now, found)]
        # A segment that was cut may cost what was counted since the heartbeat before.
        before = next((page for at, page in reversed(self.earlier) if at < now - LOST_SECONDS), {})
        for series, value in found.items():
            if series.partition("{")[0].endswith("_total") and value < before.get(series, 0):
                return f"{series} went back from {before[series]:g} to {value:g}"
        return None if runs == 1 else f"{runs:g} runs of {self.name}"


def switched(status, body):
    # While no file can be created in the recordings directory, a start is refused with 507.
    return None if status in (200, 202) or status == 507 and "cannot be written" in body else f"status {status}: {body[:200]}"


def clients(exporter, recorder, page, token):
    """The honest ones; each has an address of its own, as a pod or a node has."""
    scrape = {"User-Agent": "Prometheus/3.5.0", "X-Prometheus-Scrape-Timeout-Seconds": "10", "Accept": "text/plain;version=0.0.4"}
    probe = {"User-Agent": "kube-probe/1.36"}
    holder = {"Authorization": f"Bearer {token}", "Content-Length": "0"}
    return [
        Client("scrape", "127.0.0.10", exporter, "/metrics", page.accept, keeps=True, headers=scrape),
        Client("scrape on new connections", "127.0.0.11", exporter, "/metrics", Page(page.name).accept, period=1, headers=scrape),
        Client("probe /-/healthy", "127.0.0.12", exporter, "/-/healthy", ok, headers=probe),
        Client("probe /livez of the recorder", "127.0.0.12", exporter, f"/livez/recorder/{page.name}", ok, headers=probe),
        Client("probe /health", "127.0.0.12", recorder, "/health", ok, headers=probe),
        Client("start by the token's holder", "127.0.0.13", recorder, "/api/recording/start/wanted", switched, period=3, method="POST", headers=holder),
        Client("stop by the token's holder", "127.0.0.13", recorder, "/api/recording/stop/wanted", switched, period=3.7, method="POST", headers=holder),
    ]


def compare_stream(files, origin, viewer):
    """Whether the files hold what the origin served, each segment once and all in order; (segments, problem)."""
    content = b"".join(file.read_bytes() for file in files)
    served = origin.delivered(viewer, float("inf"))
    if not served:
        return 0, "nothing was served"
    place = count = 0
    for number in range(served[0], served[-1] + 1):
        segment = origin.segment(number)
        if not content.startswith(segment, place):
            break
        place += len(segment)
        count += 1
    if place < len(content):
        return count, f"other bytes after {count} segments, at {place} of {len(content)}"
    # What was on its way when the recorder was stopped may be missing.
    missing = len(served) - count
    return count, f"{missing} of {len(served)} segments are missing" if missing > 1 else None
