"""Holds a recorder at a line of its log: its log file is a pipe, which takes so many bytes and no more."""

import contextlib
import fcntl
import os
import time

PAGE = 4096


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
    size = run.output.stat().st_size
    time.sleep(0.1)
    return run.process.poll() is not None or run.output.stat().st_size == size


def is_pinned(run):
    """Whether the main thread stands where it has published all that it did, and said all that it published.

    That is while it waits in `poll` for more than one descriptor, or in a `write` of a line, which its log shows already.
    """
    try:
        with open(f"/proc/{run.process.pid}/syscall") as file:
            call, *arguments = file.read().split()
    except OSError:
        return False
    is_waiting = call == "7" and int(arguments[1], 16) > 1
    return is_waiting or call == "1"
