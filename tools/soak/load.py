"""A hundred scrapes a second, and all else that asks an exporter: probes, people, other scrapers."""

import collections
import http.client
import itertools
import time

from harness import samples

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
# What is asked for, and what it is answered with.
SCRAPES = {
    "": TEXT,
    "text/plain;version=0.0.4": TEXT,
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1": OPENMETRICS,
    PROTOBUF.replace(" ", "") + ",text/plain;version=0.0.4;q=0.3": PROTOBUF,
}
# With what each may answer while a recorder comes and goes.
OTHERS = {
    "/health": {200, 503}, "/livez?verbose": {200, 503}, "/readyz": {200, 503}, "/startupz": {200, 503},
    "/-/healthy": {200}, "/-/ready": {200}, "/shutdowns": {200}, "/": {200}, "/nothing-here": {404},
}
KEPT = 8  # Connections that are kept alive, used in turn.


class Load:
    def __init__(self, address, rate):
        self.address, self.rate = address, rate
        self.kept = [http.client.HTTPConnection(address, timeout=20) for _ in range(KEPT)]
        self.answered = collections.Counter()
        self.page = ""

    def run(self, over):
        """Asks until it is over, at its rate: what was delayed is made up for."""
        accepts, others = itertools.cycle(SCRAPES), itertools.cycle(OTHERS)
        start = time.monotonic()
        for number in itertools.count():
            if over.wait(max(0, start + number / self.rate - time.monotonic())):
                return
            # Each sixteenth comes on a connection of its own.
            connection = None if number % 16 == 0 else self.kept[number % KEPT]
            self.scrape(next(accepts), connection)
            if number % 10 == 0:
                self.ask_other(next(others))

    def scrape(self, accept=TEXT, connection=None):
        headers = {"User-Agent": "Prometheus/3.12.0"} | ({"Accept": accept} if accept else {})
        status, content_type, body = self.ask("/metrics", headers, connection)
        wanted = SCRAPES.get(accept, accept)
        assert (status, content_type) == (200, wanted), f"scrape of {accept!r}: {status} {content_type}"
        assert wanted != OPENMETRICS or body.endswith(b"\n# EOF\n"), "a page without an end"
        if wanted == TEXT:
            self.page = body.decode()
        return self.page

    def ask_other(self, path):
        status, _, body = self.ask(path, {})
        assert status in OTHERS[path], f"{path}: {status}"
        assert body, f"{path}: nothing"

    def ask(self, path, headers, kept=None):
        connection = kept or http.client.HTTPConnection(self.address, timeout=20)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            if not kept:
                connection.close()
        handler = "other" if response.status == 404 else path.partition("?")[0]
        self.answered[handler, response.status] += 1
        return response.status, response.getheader("Content-Type"), body


def counted(page, metric, **labels):
    """The sum of all series of a metric that have these labels."""
    return sum(value for name, has, value in samples(page) if name == f"streamvault_{metric}" and labels.items() <= has.items())
