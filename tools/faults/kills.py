#!/usr/bin/env python3
"""Kills a recorder of eight streams at random moments, again and again, and measures what that costs.

usage: kills.py [ROUNDS [SECONDS]]      ROUNDS of 100 without an argument; each kill comes within SECONDS, 4 without

After each kill every file must play as it is, and hold all that its source had delivered but for less than the sync
interval's worth; after the last one the catalogue and the files must agree. Exits with 1 when they do not.
"""

import pathlib
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from bench import SHORTEST_MEDIA, Bench, check_files_and_rows, decodes, make_sample, until  # noqa: E402

STREAMS = [f"cam-{number}" for number in range(1, 9)]
RATE = 250_000
SYNC_INTERVAL = 0.5


def delivered(bench, stream):
    """Bytes that the pipe has taken from the source of this run."""
    path = bench.base / f"{stream}.count"
    return int(path.read_text() or 0) if path.exists() else 0


def kill_once(bench, seconds):
    """Starts, waits, kills; the seconds of footage that each stream lost, and how many part files played."""
    for stream in STREAMS:
        (bench.base / f"{stream}.count").unlink(missing_ok=True)
    known = {path.name for path in bench.recordings.iterdir()}
    recorder = bench.start()
    time.sleep(random.uniform(0, seconds))
    recorder.send(signal.SIGKILL)
    recorder.end()
    new = [path for path in bench.files(".ts.part") if path.name not in known]
    for path in new:
        if path.stat().st_size >= SHORTEST_MEDIA:
            decodes(path)
    lost = []
    for stream in STREAMS:
        size = sum(path.stat().st_size for path in new if path.name.startswith(f"{stream}-2"))
        lost.append(max(0, delivered(bench, stream) - size) / RATE)
    return lost, len(new)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 4.0
    seed = random.randrange(1 << 32)
    random.seed(seed)
    with tempfile.TemporaryDirectory(prefix="streamvault-kills-") as base:
        sample = pathlib.Path(base) / "sample.ts"
        make_sample(sample)
        bench = Bench(pathlib.Path(base) / "bench", sample)
        try:
            bench.configure([bench.stream(stream, rate=RATE) for stream in STREAMS])
            lost, parts = [], 0
            for number in range(rounds):
                of_round, new = kill_once(bench, seconds)
                lost += of_round
                parts += new
                assert max(of_round) <= SYNC_INTERVAL, f"round {number}, seed {seed}: {max(of_round):.2f} s lost"
                for process in bench.programs:
                    process.poll()
                bench.programs.clear()
            recorder = bench.start([])
            until("the recovery", lambda: not bench.files(".part"), 60)
            assert recorder.stop()[0] == 0
            check_files_and_rows(bench)
            files = bench.files(".ts")
            short = sum(path.stat().st_size < SHORTEST_MEDIA for path in files)
            metrics = bench.metrics()
            recovered = sum(value for name, value in metrics.items() if name.startswith("recovered_recordings_total"))
            lost.sort()
            print(f"{rounds} kills of {len(STREAMS)} streams (seed {seed}): {parts} part files, {len(files)} files after "
                  f"the last recovery: all decode but {short} that are too short for a picture;\n"
                  "rows and files agree, integrity_check ok")
            print(f"footage lost, s: median {lost[len(lost) // 2]:.3f}, 99th percentile {lost[len(lost) * 99 // 100]:.3f}, "
                  f"most {lost[-1]:.3f} (sync interval {SYNC_INTERVAL})")
            print(f"crashes_total {metrics['crashes_total']:.0f}, recovered_recordings_total {recovered:.0f}, "
                  f"recordings {bench.rows('SELECT count(*) FROM recordings')[0][0]}")
            assert metrics["crashes_total"] == rounds
        finally:
            bench.close()


if __name__ == "__main__":
    main()
