#!/usr/bin/env python3
"""Kills a recorder of eight streams at random moments, again and again, and measures what that costs.

usage: kills.py [ROUNDS [SECONDS]]      ROUNDS of 100 without an argument; each kill comes within SECONDS, 4 without

After each kill every picture that is whole in a file must decode to what the source has, and each file must hold all that
the recorder had taken from its source but for less than the sync interval's worth; after the last one the catalogue and
the files must agree. Exits with 1 when they do not.
"""

import concurrent.futures
import contextlib
import fcntl
import os
import pathlib
import random
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from bench import Bench, check_rows  # noqa: E402
from harness import PACKET_BYTES, run, wait_for  # noqa: E402

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
        self.decoded = self.decode(self.media)
        assert len(self.decoded) == len(self.ends) > 1000

    def find_ends(self):
        """The length of the stream up to the end of each picture."""
        ends = []
        for offset in range(0, len(self.media), PACKET_BYTES):
            begins, pid = self.media[offset + 1] & 0x40, int.from_bytes(self.media[offset + 1 : offset + 3]) & 0x1FFF
            if pid == self.VIDEO and begins:
                ends.append(0)
            if pid == self.VIDEO:
                ends[-1] = offset + PACKET_BYTES
        return ends

    @staticmethod
    def decode(media):
        """Checksums of the pictures, about which ffmpeg must have nothing to say."""
        command = ["ffmpeg", "-v", "error", "-xerror", "-f", "mpegts", "-i", "-", "-f", "framecrc", "-"]
        done = subprocess.run(command, input=media, capture_output=True, timeout=120)
        assert done.returncode == 0 and not done.stderr, done.stderr.decode()
        return [line.split(",")[-1] for line in done.stdout.decode().splitlines() if not line.startswith("#")]

    def check(self, path):
        """Decodes all pictures that are whole in a file, and compares; how many those are."""
        media = path.read_bytes()
        assert self.media.startswith(media), f"{path} is not what the source sent"
        count = sum(end <= len(media) for end in self.ends)
        # The kill has cut the picture after them in two.
        if count and self.decode(media[:self.ends[count - 1]]) != self.decoded[:count]:
            raise AssertionError(f"{path}: {count} pictures, and others than were sent")
        return count

    def check_all(self, paths):
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(self.check, paths))


def delivered(bench, stream):
    """Bytes that the pipe has taken from the source of this run."""
    path = bench.base / f"{stream}.count"
    return int(path.read_text() or 0) if path.exists() else 0


class Frozen:
    """The recorder and its sources, stopped where they are."""

    def __init__(self, bench, recorder):
        recorder.process.send_signal(signal.SIGSTOP)
        self.sources = {stream: pid for pid in children(recorder.process.pid) if (stream := paced_by(bench, pid))}
        for pid in self.sources.values():
            os.kill(pid, signal.SIGSTOP)
        self.sent = {stream: delivered(bench, stream) for stream in STREAMS}
        self.unread = {stream: unread_bytes(pid) for stream, pid in self.sources.items()}

    def kill(self, recorder):
        recorder.send(signal.SIGKILL)
        for pid in self.sources.values():
            os.kill(pid, signal.SIGCONT)  # To find that its pipe has no reader any more.
        recorder.end()


def children(pid):
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                yield int(path.parent.name)


def paced_by(bench, pid):
    """The stream that a process paces; `None` while it is not yet that program."""
    words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return next((stream for stream in STREAMS if f"{bench.base}/{stream}.count" in words), None)


def unread_bytes(pid):
    """What is in the pipe that is a process's standard output."""
    pipe = os.open(f"/proc/{pid}/fd/1", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]
    finally:
        os.close(pipe)


def kill_once(bench, pictures, seconds):
    """Starts, waits, kills.

    For each stream the seconds of footage that it lost of what the recorder had taken, and those that it had not taken;
    and how many pictures each part file holds.
    """
    for stream in STREAMS:
        (bench.base / f"{stream}.count").unlink(missing_ok=True)
    known = {path.name for path in bench.recordings.iterdir()}
    recorder = bench.start()
    time.sleep(random.uniform(0, seconds))
    frozen = Frozen(bench, recorder)
    frozen.kill(recorder)
    new = [path for path in bench.files(".ts.part") if path.name not in known]
    lost = []
    for stream in STREAMS:
        size = sum(path.stat().st_size for path in new if path.name.startswith(f"{stream}-2"))
        lost.append(max(0, frozen.sent[stream] - frozen.unread.get(stream, 0) - size) / RATE)
    return lost, [count / RATE for count in frozen.unread.values()], pictures.check_all(new)


def spread(seconds):
    ordered = sorted(seconds)
    median, high = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return f"median {median:.3f}, 99th percentile {high:.3f}, most {ordered[-1]:.3f}"


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
            lost, late, parts = [], [], []
            for number in range(rounds):
                of_round, unread, new = kill_once(bench, pictures, seconds)
                lost += of_round
                late += unread
                parts += new
                assert max(of_round) <= SYNC_INTERVAL, f"round {number}, seed {seed}: {max(of_round):.2f} s lost"
                for process in bench.programs:
                    process.poll()
                bench.programs.clear()
            recorder = bench.start([])
            wait_for("the recovery", lambda: not bench.files(".part"), 60)
            assert recorder.stop()[0] == 0
            check_rows(bench)
            counts = pictures.check_all(bench.files(".ts"))
            metrics = bench.metrics()
            recovered = sum(value for name, value in metrics.items() if name.startswith("recovered_recordings_total"))
            print(f"{rounds} kills of {len(STREAMS)} streams (seed {seed}): {len(parts)} part files with {sum(parts)} whole "
                  f"pictures, {len(counts)} files with {sum(counts)} after the last recovery: each decodes to what was sent.\n"
                  f"{counts.count(0)} files end before their first picture does; rows and files agree, integrity_check ok")
            print(f"footage lost of what the recorder had taken, s: {spread(lost)} (sync interval {SYNC_INTERVAL});\n"
                  f"not yet taken from the pipes, on this machine: {spread(late)}")
            print(f"crashes_total {metrics['crashes_total']:.0f}, recovered_recordings_total {recovered:.0f}, "
                  f"recordings {bench.rows('SELECT count(*) FROM recordings')[0][0]}")
            assert metrics["crashes_total"] == rounds
        finally:
            bench.close()


if __name__ == "__main__":
    main()
