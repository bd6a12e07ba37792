"""Two Prometheis over all pods, and what their samples say."""

import json
import re
import threading
import time
import urllib.parse

from stage import fetch, free_port

INTERVAL = 1  # Seconds between scrapes.
PATIENCE = 120  # Seconds until a sample is given up.


class Prometheus:
    def __init__(self, folder, number, targets, processes):
        self.address = f"127.0.0.1:{free_port()}"
        config = folder / f"prometheus-{number}.json"
        config.write_text(json.dumps({
            "global": {"scrape_interval": f"{INTERVAL}s", "scrape_timeout": f"{INTERVAL}s"},
            "scrape_configs": [{"job_name": "storm", "static_configs": [{"targets": targets}]}],
        }))
        with open(folder / f"prometheus-{number}.log", "w") as log:
            processes.start([
                "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data-{number}",
                f"--web.listen-address={self.address}",
            ], stdout=log, stderr=log)

    def query(self, expression, at=None):
        parameters = {"query": expression} | ({"time": f"{at:.3f}"} if at else {})
        text = fetch(f"http://{self.address}/api/v1/query?{urllib.parse.urlencode(parameters)}")
        return json.loads(text)["data"]["result"]

    def last_values(self, instance, window="2m"):
        """{series: value} of the recorder, also when it is gone."""
        found = self.query(f'last_over_time({{recorder!="", instance="{instance}"}}[{window}])')
        return {series(one["metric"]): float(one["value"][1]) for one in found}

    def samples(self, instance, names, start, end):
        """The raw samples of the recorder's series between two times: {series: [(time, value)]}."""
        window = f"{max(1, round((end - start) * 1000))}ms"
        found = self.query(f'{{__name__=~"{names}", recorder!="", instance="{instance}"}}[{window}]', at=end)
        return {series(one["metric"]): [(float(t), float(v)) for t, v in one["values"]] for one in found}


def series(metric):
    """A series by its name and labels, without those that Prometheus adds."""
    return frozenset((k, v) for k, v in metric.items() if k not in ("instance", "job"))


def parse(page):
    """{series: value} of the recorder, from an exporter's page."""
    found = {}
    for line in page.splitlines():
        name, labels, value = re.fullmatch(r"(#|\w+)(?:\{(.*)\})? (.*)", line).groups()
        labels = dict(re.findall(r'(\w+)="(.*?)"', labels or ""), __name__=name)
        if "recorder" in labels:
            found[series(labels)] = float(value)
    return found


class Watch:
    """Asks both Prometheis, for all lanes at once, when they last saw a recorder."""

    def __init__(self, prometheis):
        self.prometheis = prometheis
        self.latest = [{} for _ in prometheis]  # {instance: time of its latest sample}
        self.news = threading.Condition()
        threading.Thread(target=self.look, daemon=True).start()

    def look(self):
        while True:
            for index, prometheus in enumerate(self.prometheis):
                try:
                    found = prometheus.query("timestamp(streamvault_recorder_up)")
                except (OSError, ValueError):
                    continue  # It is starting, or ending.
                with self.news:
                    self.latest[index] = {one["metric"]["instance"]: float(one["value"][1]) for one in found}
                    self.news.notify_all()
            time.sleep(0.15)

    def await_samples(self, instance, after):
        """Waits until each Prometheus has a sample that was taken after that time; the time of the later one."""
        def times():
            return [known.get(instance, 0) for known in self.latest]

        with self.news:
            # Prometheus may shift a sample's time by some milliseconds.
            if not self.news.wait_for(lambda: min(times()) > after + 0.01, timeout=PATIENCE):
                raise TimeoutError(f"no sample of {instance} within {PATIENCE} s")
            return max(times())

    def until_scrape(self, instance, before):
        """Seconds until `before` seconds ahead of the next scrape, or as much behind it when negative."""
        with self.news:
            last = self.latest[0].get(instance, time.time())
        return (last - before - time.time()) % INTERVAL
