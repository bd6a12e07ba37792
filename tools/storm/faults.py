"""Faults of the machine: a limit of memory, and a disk that has no room for another name."""

import contextlib
import os
import time
from pathlib import Path

from harness import run


class MemoryGroup:
    """A control group of its own for a recorder; of version 1 where that has the memory, or else of version 2."""

    def __init__(self, name):
        old = Path("/sys/fs/cgroup/memory")
        is_old = old.is_dir()
        self.folder = (old if is_old else old.parent) / f"streamvault-{os.getpid()}-{name}"
        self.usage, self.limit = ("usage_in_bytes", "limit_in_bytes") if is_old else ("current", "max")
        self.folder.mkdir()
        swapping = self.folder / ("memory.swappiness" if is_old else "memory.swap.max")
        if swapping.exists():
            swapping.write_text("0")
        self.join = ["sh", "-c", 'echo $$ > "$0"/cgroup.procs && exec "$@"', self.folder]

    def exhaust(self, pid, processes):
        """Uses up the group's memory, so that the kernel kills `pid`, and then the one who used it up."""
        with contextlib.suppress(FileNotFoundError):
            Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
        usage = int((self.folder / f"memory.{self.usage}").read_text())
        (self.folder / f"memory.{self.limit}").write_text(str(usage + (1 << 20)))
        processes.start([*self.join, "tail", "/dev/zero"])

    def close(self):
        for _ in range(200):  # The sources end when they find that nobody reads.
            with contextlib.suppress(OSError):
                return self.folder.rmdir()
            time.sleep(0.05)
        raise OSError(f"{self.folder} is still in use")


@contextlib.contextmanager
def no_room_for_names(directory):
    """A disk of memory on which no file can be made or linked, for the length of the block."""
    facts = os.statvfs(directory)
    remount(directory, facts.f_files - facts.f_ffree)
    try:
        yield
    finally:
        remount(directory, facts.f_files)


def remount(directory, files):
    status, text = run("mount", "-o", f"remount,nr_inodes={files}", directory)
    assert status == 0, text
