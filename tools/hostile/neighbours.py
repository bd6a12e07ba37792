"""Hostile neighbours: other programs with a segment in the directory, locks on names, and clients of the ingest socket."""

import contextlib
import fcntl
import json
import os
import socket
import struct
import sys
import time
from pathlib import Path

from .attacks import Deck

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Tests" / "TelemetryTests" / "Fixtures"))

import publish_segment  # noqa: E402
from publish_segment import SERIES_WORD, Publisher, lock, strings, text  # noqa: E402

deck = Deck("neighbours")
attack = deck.attack
# Names of the programs' own, with what they are not.
KNOWN = ["streamvault_recorder_up", "streamvault_recorder_state", "streamvault_shutdowns_total", "streamvault_recorder_runs_total",
         "streamvault_recordings_active", "streamvault_written_bytes_total", "streamvault_finalize_errors_total",
         "streamvault_exporter_http_requests_total", "process_start_time_seconds", "streamvault_disk_free_bytes", "up"]


class Neighbour:
    """What an attack works with; whatever it leaves is removed when it ends."""

    def __init__(self, world, rnd, seconds):
        self.world, self.rnd = world, rnd
        self.until = time.monotonic() + seconds
        self.names = 0
        self.stack = contextlib.ExitStack()

    def name(self):
        self.names += 1
        return f"evil-{self.rnd.randrange(1 << 30)}-{self.names}"

    def path(self, name=None):
        path = self.world.telemetry / f"{name or self.name()}.telemetry"
        self.stack.callback(path.unlink, missing_ok=True)
        return path

    def publish(self, families=(), value=0):
        """A segment as a recorder has it, with these families instead."""
        name = self.name()
        publisher = Publisher(str(self.path(name).parent), name)
        publisher.word(1, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        publisher.word(SERIES_WORD, value)
        for slot, (family, kind, labels) in enumerate(families):
            publisher.write(2, slot, struct.pack("<BBBBIQ", kind, 0, len(labels), 0, 0, 1) + text(family, 72) + text("False.", 200)
                            + text("", 16) + strings(labels, 104) + bytes(256))
            publisher.write(3, slot, struct.pack("<IIIIQ", slot, SERIES_WORD, 0, len(labels), 0) + strings(["x"] * len(labels), 144))
        self.stack.callback(os.close, publisher.file)
        return publisher

    def ingest(self):
        client = self.stack.enter_context(socket.socket(socket.AF_UNIX))
        client.settimeout(1)
        client.connect(str(self.world.ingest))
        return client

    def wait(self, seconds=0.1):
        time.sleep(max(0, min(seconds, self.until - time.monotonic())))
        return time.monotonic() < self.until

    def close(self):
        self.stack.close()


@contextlib.contextmanager
def patched_layout(words):
    """Publishers that are made meanwhile have this part of words."""
    before, publish_segment.LAYOUT[0] = publish_segment.LAYOUT[0], words
    try:
        yield
    finally:
        publish_segment.LAYOUT[0] = before


def line(**fields):
    return json.dumps(fields).encode() + b"\n"


@attack(2)
def known_names(neighbour):
    """segments that declare known names in other shapes"""
    for start in range(0, len(KNOWN), 4):
        kinds = [neighbour.rnd.choice([1, 2]) for _ in range(4)]
        neighbour.publish([(name, kind, ["nope"]) for name, kind in zip(KNOWN[start:start + 4], kinds)], 2**64 - 1)
    while neighbour.wait():
        pass


@attack()
def huge_numbers(neighbour):
    """counters of 2^64 - 1 that change all the time"""
    publisher = neighbour.publish([("evil_total", 1, ["who"])])
    while neighbour.wait(0.001):
        publisher.word(SERIES_WORD, neighbour.rnd.choice([0, 2**64 - 1, 2**63, 1]))


@attack(2)
def torn_segments(neighbour):
    """segments whose bytes change while they are read"""
    publisher = neighbour.publish([("evil_total", 1, ["who"])])
    while neighbour.wait(0.001):
        place = neighbour.rnd.randrange(len(publisher.words))
        publisher.words[place] = neighbour.rnd.getrandbits(64)


@attack(2)
def cut_segments(neighbour):
    """segments that are cut and grow while they are read"""
    publisher = neighbour.publish([("evil_total", 1, ["who"])])
    size = os.fstat(publisher.file).st_size
    while neighbour.wait(0.002):
        os.ftruncate(publisher.file, neighbour.rnd.choice([0, 1, 511, 512, 4096, size - 1, size, size * 2]))


@attack(2)
def sparse_segments(neighbour):
    """60 sparse segments of 16 MB"""
    words = (16 << 20) // 8 - 20_000
    with patched_layout((8, words, 1)):
        publisher = neighbour.publish([("evil_total", 1, ["who"])])
        size = len(publisher.memory)
        records = bytes(publisher.memory[512 + words * 8:])
        for _ in range(60):
            path = neighbour.path()
            publisher.write_header(path.name.removesuffix(".telemetry"), size)
            with open(path, "wb") as file:
                file.write(publisher.memory[:512])
                file.truncate(size)
                file.seek(size - len(records))
                file.write(records)
    while neighbour.wait():
        pass


@attack()
def huge_files(neighbour):
    """files of 64 GB under the names of segments"""
    for _ in range(20):
        with open(neighbour.path(), "wb") as file:
            file.truncate(64 << 30)
    while neighbour.wait():
        pass


@attack()
def many_segments(neighbour):
    """200 segments"""
    for _ in range(200):
        neighbour.path().write_bytes(os.urandom(neighbour.rnd.choice([0, 8, 512, 5000])))
    while neighbour.wait():
        pass


@attack()
def odd_files(neighbour):
    """pipes, directories, links and devices under the names of segments"""
    directory = neighbour.world.telemetry
    for number in range(5):
        names = [f"evil-{kind}-{number}.telemetry" for kind in ("pipe", "link", "loop", "zero")]
        for name in names:
            neighbour.stack.callback((directory / name).unlink, missing_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(directory / names[0], 0o666)
            os.symlink("/etc/passwd", directory / names[1])
            os.symlink(names[2], directory / names[2])
            os.symlink("/dev/zero", directory / names[3])
            (directory / f"evil-folder-{number}.telemetry").mkdir()
        neighbour.stack.callback(lambda path=directory / f"evil-folder-{number}.telemetry": path.exists() and path.rmdir())
    while neighbour.wait():
        pass


@attack()
def locks(neighbour):
    """locks on the names of the recorders"""
    for name in neighbour.world.recorder_names:
        for file, flags, kind in ((f".{name}.telemetry.new", os.O_RDWR | os.O_CREAT, fcntl.F_RDLCK), (f"{name}.telemetry", os.O_RDWR, fcntl.F_RDLCK)):
            path = neighbour.world.telemetry / file
            descriptor = os.open(path, flags, 0o666)
            neighbour.stack.callback(os.close, descriptor)
            if file.startswith("."):
                neighbour.stack.callback(path.unlink, missing_ok=True)
            with contextlib.suppress(BlockingIOError):
                fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock(descriptor, kind))
    while neighbour.wait():
        pass


@attack(2)
def ingest_of_known_names(neighbour):
    """ingest clients that declare known names, or call themselves like a recorder"""
    client = neighbour.ingest()
    client.sendall(line(type="hello", name=neighbour.rnd.choice([*neighbour.world.recorder_names, neighbour.name()])))
    for name in KNOWN:
        client.sendall(line(type="declare", metric=neighbour.rnd.choice(["counter", "gauge", "histogram"]), name=name, help="False."))
        client.sendall(line(type="add", name=name, value=1e308))
    while neighbour.wait():
        pass


@attack(2)
def ingest_floods(neighbour):
    """ingest clients that send lines, and never read"""
    client = neighbour.ingest()
    client.sendall(line(type="hello", name=neighbour.name()))
    client.sendall(line(type="declare", metric="counter", name="evil_total", help="Evil."))
    lines = [line(type="add", name="evil_total", value=2**64, ack=True), b"x" * 200 + b"\n", b"{" * 500 + b"\n", b"\n" * 100, line(type="state", state="x")]
    with contextlib.suppress(TimeoutError):
        while time.monotonic() < neighbour.until:
            client.sendall(neighbour.rnd.choice(lines) * 20)
            time.sleep(0.001)
    while neighbour.wait():
        pass


@attack()
def ingest_without_end(neighbour):
    """an ingest line of 8 MB"""
    client = neighbour.ingest()
    for _ in range(2000):
        client.sendall(b"x" * 4096)
    while neighbour.wait():
        pass


@attack()
def ingest_crowds(neighbour):
    """300 ingest clients, each with a name of its own"""
    for _ in range(300):
        with contextlib.suppress(OSError):
            neighbour.ingest().sendall(line(type="hello", name=neighbour.name()))
    while neighbour.wait():
        pass


@attack()
def ingest_families(neighbour):
    """an ingest client with 2,000 families"""
    client = neighbour.ingest()
    client.sendall(line(type="hello", name=neighbour.name()))
    for number in range(2000):
        client.sendall(line(type="declare", metric="histogram", name=f"evil_{number}_seconds", help="E" * 200, unit="seconds"))
        client.setblocking(False)
        with contextlib.suppress(OSError):
            client.recv(65536)
        client.settimeout(1)
    while neighbour.wait():
        pass
