"""The processes that are measured: the exporter with a recorder's fixture, and nginx with the same bytes in a file."""

import http.client
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
from harness import ROOT, free_port, status_field, wait_for  # noqa: E402

FIXTURE = ROOT / ".build/release/PublisherBench"

# What Prometheus 3 sends with each scrape.
SCRAPE = {
    "User-Agent": "Prometheus/3.12.0",
    "Accept": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    "Accept-Encoding": "gzip",
    "X-Prometheus-Scrape-Timeout-Seconds": "10",
}

NGINX = """
worker_processes 1;
daemon off;
pid {work}/nginx.pid;
error_log {work}/nginx.log;
events {{}}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {work}/static;
        types {{}}
        default_type "{type}";
    }}
}}
"""


def fetch(port):
    """One scrape: status, content type, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics", headers=SCRAPE)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type"), response.read()
    finally:
        connection.close()


def on_one_processor(command):
    """Servers share the first processor and leave the others to the client: a move to another processor would distort the figures."""
    return ["taskset", "-c", "0", *command] if (os.cpu_count() or 1) > 1 else command


class Process:
    """A program that is ended with the block that started it."""

    def __init__(self, command, log):
        self.log = log
        with open(log, "wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def await_that(self, condition):
        """Waits until `condition` holds or the process has ended, which ends the bench."""
        wait_for(f"{self.process.args[0]}", lambda: self.process.poll() is not None or condition(), interval=0.01)
        if self.process.poll() is not None:
            sys.exit(f"{self.process.args}: {Path(self.log).read_text()}")

    @property
    def pid(self):
        return self.process.pid


class Server(Process):
    """A process that answers on `port`; `worker` is the one that does the work."""

    def __init__(self, command, log, port):
        super().__init__(on_one_processor(command), log)
        self.port = port
        self.await_that(lambda: fetch(port)[0] == 200)

    @property
    def worker(self):
        return self.pid

    def cpu_seconds(self):
        return int(Path(f"/proc/{self.worker}/schedstat").read_text().split()[0]) / 1e9

    def status(self, field):
        return int(status_field(self.worker, field))


class Nginx(Server):
    """Serves the page that `exporter` has just answered."""

    def __init__(self, work, exporter):
        _, content_type, body = fetch(exporter.port)
        os.chmod(work, 0o755)
        (work / "static").mkdir()
        (work / "static/metrics").write_bytes(body)
        port = free_port()
        (work / "nginx.conf").write_text(NGINX.format(work=work, port=port, type=content_type))
        program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        super().__init__([program, "-c", f"{work}/nginx.conf", "-e", f"{work}/nginx.log"], work / "nginx.out", port)
        assert fetch(port)[2] == body, "nginx does not serve the same bytes"

    @property
    def worker(self):
        return int(Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text())


def fixture(work, size):
    """A recorder that publishes so much; see Fixture.Size."""
    directory = work / "telemetry"
    directory.mkdir()
    recorder = Process([str(FIXTURE), "serve", size, str(directory)], work / "fixture.log")
    recorder.await_that(lambda: "running" in (work / "fixture.log").read_text())
    return recorder


def exporter(program, work):
    port = free_port()
    command = [str(program), "--telemetry-dir", str(work / "telemetry"), "--web.listen-address", f"127.0.0.1:{port}"]
    return Server(command, work / "exporter.log", port)
