#!/usr/bin/env python3
"""Many command sources at once: does the recorder keep up, and what does it take?

usage: streams.py RECORDER [--streams 200] [--megabits 5] [--seconds 20] [--directory DIR]

One feeder writes to a FIFO for each stream, ten times a second, whatever the recorder does; each source is `cat FIFO`. What a
FIFO, of 1 MiB, has no room for is lost, and counted: that is falling behind. At the end every file must hold all that was fed.
"""
import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
from harness import command_stream, cpu_seconds, resident_bytes, write_configuration  # noqa: E402

BAR_MEBIBYTES = 300
PACKET = bytes([0x47, 0x1F, 0xFF, 0x10]) + bytes(184)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recorder")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--megabits", type=float, default=5)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--directory", default=None, help="where the recordings go")
    parser.add_argument("--sync-interval", default="5s")
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="streams-", dir=options.directory))
    try:
        measure(options, base)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def measure(options, base):
    fifos = [base / f"fifo-{number}" for number in range(options.streams)]
    for fifo in fifos:
        os.mkfifo(fifo)
    streams = [command_stream(f"s{number}", "cat", fifo) for number, fifo in enumerate(fifos)]
    config = write_configuration(base, streams, sync_interval=options.sync_interval)
    recorder = subprocess.Popen([options.recorder, "--config", config], stdout=subprocess.DEVNULL)
    # Opening waits until the source reads.
    ends = [os.open(fifo, os.O_WRONLY) for fifo in fifos]
    before = cpu_seconds(recorder.pid)
    fed, lost, late = feed(ends, options)
    after = cpu_seconds(recorder.pid)
    resident = resident_bytes(recorder.pid, peak=True) >> 20
    for end in ends:
        os.close(end)
    time.sleep(1)  # The sources end by themselves; what is still in pipes comes out.
    stop = time.monotonic()
    recorder.send_signal(signal.SIGTERM)
    status = recorder.wait(60)
    stopped = time.monotonic() - stop
    files = sorted((base / "recordings").glob("*.ts"))
    written = sum(file.stat().st_size for file in files)
    print(f"streams {options.streams} x {options.megabits} Mbit/s, {options.seconds} s")
    print(f"fed {fed >> 20} MiB, written {written >> 20} MiB in {len(files)} files, lost {lost} bytes")
    print(f"feeder late at most {late * 1000:.0f} ms")
    print(f"recorder: {(after - before) / options.seconds * 100:.0f} % of a core")
    print(f"resident {resident} MiB at most (bar: {BAR_MEBIBYTES})")
    print(f"stopped in {stopped:.2f} s, status {status}")
    if lost or written != fed or status != 0 or resident >= BAR_MEBIBYTES:
        raise SystemExit("it fell behind, lost something, or took too much")


def feed(ends, options):
    """Writes to every FIFO ten times a second; bytes written, bytes lost, and the feeder's own greatest delay."""
    piece = PACKET * max(1, round(options.megabits * 1e6 / 8 / 10 / len(PACKET)))
    for end in ends:
        os.set_blocking(end, False)
        fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 1 << 20)  # Or a feeder that is late itself would lose the next piece.
    fed = lost = 0
    late = 0.0
    start = time.monotonic()
    for turn in range(options.seconds * 10):
        due = start + turn / 10
        time.sleep(max(0, due - time.monotonic()))
        late = max(late, time.monotonic() - due)
        for end in ends:
            try:
                count = os.write(end, piece)
            except BlockingIOError:
                count = 0
            fed += count
            lost += len(piece) - count
    return fed, lost, late


main()
