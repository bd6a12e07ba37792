#!/usr/bin/env python3
"""An exporter under 100 scrapes a second, beside a recorder that is restarted every minute: does anything grow?

usage: soak.py [MINUTES [SECONDS]]      60 minutes, and a restart every 60 seconds, without an argument; in fewer than 15
                                        minutes retention, which works once a minute, does not come to rest

Three publish into one directory: `phoenix`, which is ended by SIGTERM and by SIGKILL in turn and starts again on its
directories; `oak`, which runs through; and a guest that comes and goes on the ingest socket. Recordings start and end
all the time. At the end the medians of the second and of the last tenth of the time are compared, and the counters with
what the bench has counted itself. Exits with 1 when something has grown, or does not agree.

Needs ffmpeg; the programs in .build/debug, or where STREAMVAULT_BIN says.
"""

import concurrent.futures
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from figures import MEBIBYTE, Figures, Process, size
from lives import PATIENCE, Guest, Origin, Recorder
from load import Load, counted
from harness import Program, free_port, kill, samples, wait_for

RATE = 100
SAMPLE_SECONDS = 5
# By how much each may grow and still be flat: an amount, or a share of what it was.
LIMITS = {
    "exporter: resident MiB": (0.25, 0),
    "exporter: descriptors": (1, 0),
    "exporter: threads": (0, 0),
    "resident MiB": (1, 0.05),
    # A stream more or less may be on.
    "descriptors": (6, 0),
    "threads": (3, 0),
    "mappings": (8, 0),
    "CPU us a request": (0, 0.5),
    "CPU % of a core": (1, 0.5),
    "recordings MiB": (1, 0.5),
    "files": (4, 0.5),
    "catalogue bytes a recording": (0, 0.1),
    "page: series": (6, 0),
    "page: bytes": (0, 0.02),
}


class Soak:
    def __init__(self, folder, telemetry, minutes, restart_seconds):
        self.seconds, self.restart_seconds = minutes * 60, restart_seconds
        self.folder, self.telemetry = Path(folder), Path(telemetry)
        origin = Origin(self.folder / "origin", 20)
        retention = {"max_age": f"{max(10, self.seconds // 15):.0f}s", "max_count": 200}
        self.phoenix, self.oak = self.recorders = [
            Recorder(self.folder, self.telemetry, name, origin, retention) for name in ("phoenix", "oak")]
        self.guest = Guest(self.folder / "ingest.socket")
        self.address = f"127.0.0.1:{free_port()}"
        self.load = Load(self.address, RATE)
        self.figures = Figures(LIMITS)
        self.over = threading.Event()
        self.exporter = None

    def run(self):
        self.start_exporter()
        for recorder in self.recorders:
            recorder.start()
        self.watched = {"exporter": Process(self.exporter.pid), "oak": Process(self.oak.process.pid)}
        self.started = time.monotonic()
        self.play([
            (self.load.run,), (self.guest.live_until,), (self.phoenix.switch_until,), (self.oak.switch_until,),
            (self.phoenix.restart_until, self.restart_seconds, self.sample_life),
        ])
        scrapes, seconds = self.load.answered["/metrics", 200], time.monotonic() - self.started
        print(f"{scrapes} scrapes in {seconds / 60:.1f} minutes, {scrapes / seconds:.0f} a second")
        for recorder in self.recorders:
            recorder.end(signal.SIGTERM)

    def start_exporter(self):
        self.exporter = Program(
            "exporter", "--telemetry-dir", self.telemetry, "--web.listen-address", self.address,
            "--ingest.socket", self.guest.path, log=self.folder / "exporter.log").process
        wait_for("the exporter", self.load.scrape, PATIENCE)

    def play(self, parts):
        """Lets all parts play until the time is over, or one of them fails; samples meanwhile."""
        with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
            tasks = [pool.submit(part, self.over, *arguments) for part, *arguments in parts]
            try:
                while self.moment < 1 and not any(task.done() for task in tasks):
                    time.sleep(SAMPLE_SECONDS)
                    self.sample()
            finally:
                self.over.set()
            for task in tasks:
                task.result()

    @property
    def moment(self):
        return (time.monotonic() - self.started) / self.seconds

    def sample(self):
        moment, page = self.moment, self.load.page
        exporter, oak = self.watched.values()
        requests = self.load.answered.total()
        self.figures.add(moment, "exporter", exporter.figures() | exporter.cpu("us a request", 1e6, requests))
        self.figures.add(moment, "oak", oak.figures() | oak.cpu("% of a core", 100, time.monotonic()))
        self.figures.add(moment, "page", {"series": len(samples(page)), "bytes": len(page)})
        self.figures.add(moment, "telemetry directory", {
            "entries": len(list(self.telemetry.iterdir())), "bytes": size(self.telemetry)})
        for recorder in self.recorders:
            media = recorder.media()
            self.figures.add(moment, recorder.name, {
                "segment bytes": size(recorder.segment),
                "files": len(media),
                "recordings MiB": size(*media) / MEBIBYTE,
            })

    def sample_life(self):
        """What the phoenix has come to at the end of each life."""
        self.figures.add(self.moment, "phoenix, at the end of a life", Process(self.phoenix.process.pid).figures())
        self.figures.add(self.moment, "phoenix", {
            "catalogue bytes a recording": size(*self.phoenix.catalogue) / self.phoenix.recorded()})

    def close(self):
        for process in (self.phoenix.process, self.oak.process, self.exporter):
            if process:
                kill(process)


def compare(soak):
    """Prints what was counted beside what the bench knows; whether they agree."""
    answered = dict(soak.load.answered)  # The page does not count itself.
    page, rows = soak.load.scrape(), []
    for who in (*soak.recorders, soak.guest):
        def told(metric, **labels):
            return counted(page, metric, recorder=who.name, **labels)

        rows.append((f"{who.name}: runs", told("recorder_runs_total"), who.starts))
        rows += [(f"{who.name}: shutdowns {end}", told("shutdowns_total", outcome=end), who.ends[end])
                 for end in ("clean", "degraded", "killed")]
        rows.append((f"{who.name}: crashes", told("crashes_total"), who.ends["crashed"]))
        rows.append((f"{who.name}: recordings that ended, of those that started",
                     told("recordings_finished_total"), told("recordings_started_total")))
    rows += [(f"requests for {path}, answered {status}",
              counted(page, "exporter_http_requests_total", handler=path, code=str(status)), count)
             for (path, status), count in sorted(answered.items())]
    rows.append(("lines of the guest that were refused", counted(page, "exporter_ingest_refused_lines_total"), 0))
    rows.append(("segments that could not be read", counted(page, "exporter_segment_read_errors_total"), 0))
    print(f"\n{'':58}{'counted':>11}{'true':>11}")
    for what, told, true in rows:
        print(f"{what:58}{told:11.0f}{true:11.0f}  {'' if told == true else 'WRONG'}")
    return all(told == true for _, told, true in rows)


def main():
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    restart_seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60
    with tempfile.TemporaryDirectory(prefix="streamvault-soak-") as folder, \
            tempfile.TemporaryDirectory(dir="/dev/shm") as telemetry:
        soak = Soak(folder, telemetry, minutes, restart_seconds)
        try:
            soak.run()
            good = [soak.figures.show(), compare(soak)]
        finally:
            soak.close()
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
