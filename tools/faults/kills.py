#!/usr/bin/env python3
"""Kills a recorder of eight streams at random moments, again and again, and measures what that costs.

usage: kills.py [ROUNDS [SECONDS]]      ROUNDS of 100 without an argument; each kill comes within SECONDS, 4 without

After each kill every picture that is whole in a file must decode to what the source has, and each file must hold all that
its source had delivered but for less than the sync interval's worth; after the last one the catalogue and the files must
agree. Exits with 1 when they do not.
"""

import concurrent.futures
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from bench import PACKET, Bench, check_rows, run, until  # noqa: E402

STREAMS = [f"cam-{number}" for number in range(1, 9)]
RATE = 250_000
SYNC_INTERVAL = 0.5


class Pictures:
    """A source of small pictures, every fifth of them a key frame: where each ends, and what it decodes to."""

    VIDEO = 0x100

    def __init__(self, path, seconds=60):
        status, text = run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=size=160x90:rate=25:duration={seconds}",
                           "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "5", "-f", "mpegts", path)
        assert status == 0, text
        self.path, self.media = path, path.read_bytes()
        self.ends = self.find_ends()
        self.decoded = self.decode(path, len(self.ends))
        assert len(self.decoded) == len(self.ends) > 1000

    def find_ends(self):
        """The length of the stream up to the end of each picture."""
        ends = []
        for offset in range(0, len(self.media), PACKET):
            begins, pid = self.media[offset + 1] & 0x40, int.from_bytes(self.media[offset + 1 : offset + 3]) & 0x1FFF
            if pid == self.VIDEO and begins:
                ends.append(0)
            if pid == self.VIDEO:
                ends[-1] = offset + PACKET
        return ends

    @staticmethod
    def decode(path, count):
        """Checksums of the first pictures in a file, of which ffmpeg must have nothing to say."""
        status, text = run("ffmpeg", "-v", "error", "-xerror", "-threads", "1", "-f", "mpegts", "-i", path,
                           "-frames:v", count, "-f", "framecrc", "-")
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        assert status == 0 and all(line.startswith("0, ") for line in lines), f"{path}, {count} pictures: {text}"
        return [line.split(",")[-1] for line in lines]

    def check(self, path):
        """Decodes all that is whole in a file, and compares; how many pictures that were."""
        data = path.read_bytes()
        assert self.media.startswith(data), f"{path} is not what the source sent"
        count = sum(end <= len(data) for end in self.ends)
        if count:
            assert self.decode(path, count) == self.decoded[:count], f"{path}: {count} pictures, and others than were sent"
        return count

    def check_all(self, paths):
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(self.check, paths))


def delivered(bench, stream):
    """Bytes that the pipe has taken from the source of this run."""
    path = bench.base / f"{stream}.count"
    return int(path.read_text() or 0) if path.exists() else 0


def kill_once(bench, pictures, seconds):
    """Starts, waits, kills; the seconds of footage that each stream lost, and how many pictures each part file holds."""
    for stream in STREAMS:
        (bench.base / f"{stream}.count").unlink(missing_ok=True)
    known = {path.name for path in bench.recordings.iterdir()}
    recorder = bench.start()
    time.sleep(random.uniform(0, seconds))
    recorder.send(signal.SIGKILL)
    recorder.end()
    new = [path for path in bench.files(".ts.part") if path.name not in known]
    lost = []
    for stream in STREAMS:
        size = sum(path.stat().st_size for path in new if path.name.startswith(f"{stream}-2"))
        lost.append(max(0, delivered(bench, stream) - size) / RATE)
    return lost, pictures.check_all(new)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 4.0
    seed = random.randrange(1 << 32)
    random.seed(seed)
    with tempfile.TemporaryDirectory(prefix="streamvault-kills-") as base:
        pictures = Pictures(pathlib.Path(base) / "sample.ts")
        bench = Bench(pathlib.Path(base) / "bench", pictures.path)
        try:
            bench.configure([bench.stream(stream, rate=RATE) for stream in STREAMS])
            lost, parts = [], []
            for number in range(rounds):
                of_round, new = kill_once(bench, pictures, seconds)
                lost += of_round
                parts += new
                assert max(of_round) <= SYNC_INTERVAL, f"round {number}, seed {seed}: {max(of_round):.2f} s lost"
                for process in bench.programs:
                    process.poll()
                bench.programs.clear()
            recorder = bench.start([])
            until("the recovery", lambda: not bench.files(".part"), 60)
            assert recorder.stop()[0] == 0
            check_rows(bench)
            counts = pictures.check_all(bench.files(".ts"))
            metrics = bench.metrics()
            recovered = sum(value for name, value in metrics.items() if name.startswith("recovered_recordings_total"))
            lost.sort()
            print(f"{rounds} kills of {len(STREAMS)} streams (seed {seed}): {len(parts)} part files with {sum(parts)} whole "
                  f"pictures, {len(counts)} files with {sum(counts)} after the last recovery: each decodes to what was sent.\n"
                  f"{counts.count(0)} files end before their first picture does; rows and files agree, integrity_check ok")
            print(f"footage lost, s: median {lost[len(lost) // 2]:.3f}, 99th percentile {lost[len(lost) * 99 // 100]:.3f}, "
                  f"most {lost[-1]:.3f} (sync interval {SYNC_INTERVAL})")
            print(f"crashes_total {metrics['crashes_total']:.0f}, recovered_recordings_total {recovered:.0f}, "
                  f"recordings {bench.rows('SELECT count(*) FROM recordings')[0][0]}")
            assert metrics["crashes_total"] == rounds
        finally:
            bench.close()


if __name__ == "__main__":
    main()
