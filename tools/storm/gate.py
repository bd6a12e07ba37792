"""Holds a recorder at a line of its log: its log file is a pipe, which takes so many bytes and no more."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from harness import status_field

PAGE = 4096
# Numbers of system calls; glibc's poll is ppoll where there is no other.
WRITE, POLL = {"x86_64": ("1", "7"), "aarch64": ("64", "73")}[os.uname().machine]
AT_GATE, PAST = "at the gate", "past it"


class Gate:
    def __init__(self, path):
        self.path = path
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        self.pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def narrow(self, room):
        """From now on `room` bytes are taken, and the line after them waits."""
        self.drain()
        fcntl.fcntl(self.pipe, fcntl.F_SETPIPE_SZ, PAGE)
        os.write(self.pipe, b"\n" * max(1, PAGE - room))

    def drain(self):
        with contextlib.suppress(BlockingIOError):
            while os.read(self.pipe, PAGE):
                pass

    def open_until(self, process):
        """Takes everything until the process has ended."""
        while process.poll() is None:
            self.drain()
            time.sleep(0.005)

    def close(self):
        os.close(self.pipe)
        self.path.unlink()


def stands_at_gate(run):
    """Whether the log of a run does not grow, as somebody waits to write; or the run is over."""
    size = run.log_path.stat().st_size
    time.sleep(0.1)
    return run.process.poll() is not None or run.log_path.stat().st_size == size


def author_of_last_line(run):
    """Where the thread is that wrote the last line of the log: AT_GATE, PAST it, or nothing when that cannot be seen."""
    tasks = list(Path(f"/proc/{run.pid}/task").glob("*"))
    if not tasks or any(status_field(run.pid, "State", task.name) != "S" for task in tasks):
        return None
    # All sleep: whoever is not held up by the gate is through with what goes with its line.
    return AT_GATE if any(call_of(task)[0] == WRITE for task in tasks) else PAST


def is_pinned(run):
    """Whether the main thread stands where it has published all that it did, and said all that it published.

    That is while it waits in `poll` for more than one descriptor, or in a `write` of a line, which its log shows already.
    """
    call, *arguments = call_of(f"/proc/{run.process.pid}")
    return call == WRITE or call == POLL and int(arguments[1], 16) > 1


def call_of(task):
    """The system call that a thread is in, and its arguments."""
    try:
        with open(f"{task}/syscall") as file:
            return file.read().split() or ["none"]
    except OSError:
        return ["none"]
