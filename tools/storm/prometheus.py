"""Two Prometheus servers over all pods, and the samples that they have."""

import threading
import time

import harness

INTERVAL = 1  # Seconds between scrapes.
PATIENCE = 120  # Seconds to wait for a sample.


class Prometheus(harness.Prometheus):
    def __init__(self, folder, number, targets, processes):
        super().__init__(
            folder, [{"job_name": "storm", "static_configs": [{"targets": targets}]}], processes, interval=INTERVAL,
            timeout=INTERVAL, name=f"prometheus-{number}")

    def last_values(self, instance, window="2m"):
        """The last value of each series of the recorder, even if it is gone: {series: value}."""
        found = self.result(f'last_over_time({{recorder!="", instance="{instance}"}}[{window}])')
        return {series(one["metric"]): float(one["value"][1]) for one in found}

    def samples(self, instance, names, start, end):
        """The raw samples of the recorder's series between two times: {series: [(time, value)]}."""
        window = f"{max(1, round((end - start) * 1000))}ms"
        found = self.result(f'{{__name__=~"{names}", recorder!="", instance="{instance}"}}[{window}]', at=end)
        return {series(one["metric"]): [(float(t), float(v)) for t, v in one["values"]] for one in found}


def series(metric):
    """A series by its name and labels, without those that Prometheus adds."""
    return frozenset((k, v) for k, v in metric.items() if k not in ("instance", "job"))


def parse(page):
    """{series: value} of the recorder, from an exporter's page."""
    return {series({**labels, "__name__": name}): value
            for name, labels, value in harness.samples(page) if "recorder" in labels}


class Watch:
    """Asks both servers, for all lanes at once, when they last scraped a recorder that was up."""

    def __init__(self, servers):
        self.servers = servers
        self.latest = [{} for _ in servers]  # {instance: time of its latest sample}
        self.news = threading.Condition()
        threading.Thread(target=self.look, daemon=True).start()

    def look(self):
        while True:
            for index, prometheus in enumerate(self.servers):
                try:
                    found = prometheus.result("timestamp(streamvault_recorder_up)")
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
