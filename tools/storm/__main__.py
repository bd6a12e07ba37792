"""Ends recorders and exporters at random under two Prometheus servers, and compares their counts with what happened.

Needs root, Debian's prometheus, ffmpeg and strace; the programs in .build/debug, or where STREAMVAULT_BIN says.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness import Processes

from .choices import deal
from .lane import Lane
from .prometheus import Prometheus, Watch
from .sources import Origin, Sample
from .table import Table


LONGEST_ROUND = 60  # Seconds, on the average of a lane and on a slow machine.


class Storm:
    """What all lanes share."""

    def __init__(self, folder, options):
        self.folder = folder
        self.processes = Processes()
        self.rounds, self.lanes = [], []
        self.is_exact = True
        self.ranges = {}  # Where the lines of each phase are in the log of a shutdown.
        self.kept = None
        self.lock = threading.Lock()
        self.options = options

    def prepare(self):
        folder, options = self.folder, self.options
        hands = deal(options.rounds, options.lanes, options.seed)
        self.sample = Sample(folder)
        self.origin = Origin(folder, self.sample, 600 + LONGEST_ROUND * len(hands[0]), self.processes)
        self.lanes = [Lane(self, number, hand) for number, hand in enumerate(hands)
                      if options.only_lane in (None, number)]
        targets = [lane.address for lane in self.lanes]
        self.servers = [Prometheus(folder, number, targets, self.processes) for number in range(2)]
        self.watch = Watch(self.servers)

    def play(self):
        """Plays all lanes, and says now and then how far they are."""
        threads = [threading.Thread(target=lane.go, daemon=True) for lane in self.lanes]
        for thread in threads:
            thread.start()
        said = 0
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.2)
            closed = sum(bool(one.entry) for one in self.rounds)
            if closed >= said + 50:
                said = closed
                print(f"storm: {closed} rounds are in the books", flush=True)

    @contextlib.contextmanager
    def going_on(self):
        """For what has to be cleared away: the storm is not over as long as the block runs."""
        with self.lock:
            if self.processes.is_over:
                raise InterruptedError("the storm is over")
            yield

    def keep(self, pod):
        """Keeps the logs of a pod for whoever wants to know what went wrong."""
        with self.going_on():
            self.kept = self.kept or Path(tempfile.mkdtemp(prefix="streamvault-storm-kept-"))
        folder = self.kept / pod.name
        folder.mkdir()
        for path in [*pod.base.glob("*.log"), *pod.base.glob("*.json5"), *pod.base.glob("*/*.telemetry")]:
            shutil.copy(path, folder)

    def tell(self, where, trouble):
        """Says what went wrong, at once; what breaks when the storm is broken off is no news."""
        if self.processes.is_over:
            return
        self.is_exact = False
        print(f"{where}\n  {trouble}", file=sys.stderr, flush=True)

    def end(self):
        with self.lock:
            self.processes.end_all()
        for lane in self.lanes:
            lane.clear_away()


def main():
    options = arguments()
    print(f"storm: {options.rounds} rounds in {options.lanes} lanes, seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="streamvault-storm-", ignore_cleanup_errors=True) as name:
        storm = Storm(Path(name), options)
        try:
            storm.prepare()
            storm.play()
        finally:
            storm.end()
    table = Table(storm.rounds, sum(len(lane.choices) for lane in storm.lanes))
    print(table.text())
    minutes = (time.monotonic() - started) / 60
    print(f"\n{len(storm.rounds)} rounds in {minutes:.1f} min, seed {options.seed}, {options.lanes} lanes")
    if storm.kept:
        print(f"logs of what went wrong: {storm.kept}", file=sys.stderr)
    sys.exit(0 if table.is_exact and storm.is_exact else 1)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("STORM_RUNS") or 300))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("STORM_SEED") or random.randrange(1 << 32)))
    parser.add_argument("--lanes", type=int, default=int(os.environ.get("STORM_LANES") or 10), help="pods at a time")
    parser.add_argument("--only-lane", type=int, help="plays the rounds of one lane again")
    return parser.parse_args()


if __name__ == "__main__":
    main()
