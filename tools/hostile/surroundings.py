"""A file system that changes under both programs, and signals that must not end them."""

import contextlib
import os
import shutil
import signal
import time

from .attacks import Deck

files, signals = Deck("files"), Deck("signals")

# A program must survive each; faults such as SIGSEGV and SIGABRT are not among them.
HARMLESS = ["SIGHUP", "SIGALRM", "SIGUSR2", "SIGPIPE", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGSTKFLT", "SIGXCPU", "SIGXFSZ", "SIGWINCH",
            "SIGCHLD", "SIGURG", "SIGCONT"]


class Surroundings:
    def __init__(self, world, rnd, seconds):
        self.world, self.rnd = world, rnd
        self.until = time.monotonic() + seconds

    def segment(self):
        return self.world.telemetry / f"{self.rnd.choice(self.world.recorder_names)}.telemetry"

    def program(self):
        return self.rnd.choice(self.world.running())

    def settle(self):
        """Time for what has happened to be noticed."""
        time.sleep(max(0, self.until - time.monotonic()))

    def close(self):
        pass


@files.attack(2)
def truncated_segment(around):
    """a recorder's segment is cut"""
    with contextlib.suppress(FileNotFoundError):
        os.truncate(around.segment(), around.rnd.choice([0, 1, 512, 4096, 65536]))
    around.settle()


@files.attack()
def grown_segment(around):
    """a recorder's segment is cut, and grows again"""
    with contextlib.suppress(FileNotFoundError):
        path = around.segment()
        size = path.stat().st_size
        os.truncate(path, 0)
        os.truncate(path, size)
    around.settle()


@files.attack(2)
def removed_segment(around):
    """a recorder's segment is removed"""
    around.segment().unlink(missing_ok=True)
    around.settle()


@files.attack()
def replaced_segment(around):
    """a recorder's segment is replaced by other bytes"""
    path = around.segment()
    other = path.with_suffix(".other")
    other.write_bytes(os.urandom(4096))
    other.rename(path)
    around.settle()


@files.attack(2)
def emptied_directory(around):
    """the telemetry directory is emptied"""
    for path in list(around.world.telemetry.iterdir()):
        with contextlib.suppress(OSError):
            path.unlink()
    around.settle()


@files.attack(2)
def recreated_directory(around):
    """the telemetry directory is removed, and created again a second later"""
    world = around.world
    with world.telemetry_lock:
        shutil.rmtree(world.telemetry, ignore_errors=True)
        time.sleep(around.rnd.uniform(0, 1))
        world.make_directory(world.telemetry)
    around.settle()


@files.attack()
def forbidden_directory(around):
    """nobody may enter the telemetry directory for a second"""
    world = around.world
    with world.telemetry_lock:
        world.telemetry.chmod(0)
        time.sleep(1)
        world.telemetry.chmod(0o755)
    around.settle()


@files.attack()
def read_only_recordings(around):
    """no file can be created for a second where recordings are"""
    around.world.recordings.chmod(0o555)
    time.sleep(1)
    around.world.recordings.chmod(0o755)


@files.attack(2)
def deleted_part(around):
    """the file of a hostile stream is deleted while it is recorded"""
    parts = sorted(around.world.recordings.glob("hostile-*.part"))
    if parts:
        around.rnd.choice(parts).unlink(missing_ok=True)
    around.settle()


@files.attack()
def deleted_recordings(around):
    """recordings of hostile streams are deleted"""
    for path in around.world.recordings.glob("hostile-*"):
        path.unlink(missing_ok=True)
    around.settle()


@files.attack(2)
def full_disk(around):
    """the disk of another recorder is full for two seconds"""
    filler = around.world.cramped / "filler"
    with contextlib.suppress(OSError), open(filler, "wb") as file:
        while True:
            file.write(bytes(1 << 16))
    time.sleep(2)
    filler.unlink()
    around.settle()


@signals.attack(4)
def harmless_signals(around):
    """all signals that must not end a program"""
    for name in around.rnd.sample(HARMLESS, len(HARMLESS)):
        os.kill(around.program(), getattr(signal, name))
        time.sleep(0.01)
    around.settle()


@signals.attack()
def realtime_signals(around):
    """real-time signals"""
    for _ in range(10):
        os.kill(around.program(), around.rnd.randrange(signal.SIGRTMIN, signal.SIGRTMAX + 1))
    around.settle()


@signals.attack()
def signal_storm(around):
    """a thousand SIGHUP"""
    for _ in range(1000):
        os.kill(around.program(), signal.SIGHUP)
    around.settle()


@signals.attack(2)
def short_stops(around):
    """SIGSTOP, and SIGCONT half a second later"""
    process = around.program()
    os.kill(process, around.rnd.choice([signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN]))
    time.sleep(0.5)
    os.kill(process, signal.SIGCONT)
    around.settle()
