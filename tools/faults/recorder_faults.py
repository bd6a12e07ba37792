"""The faults that the recorder is to meet: what each of its system calls on files may return instead."""

from typing import NamedTuple

from strace import Call

# A fault of these stages comes with the signal.
ATTACHED = ("finalize", "close")
TRANSFERS = ("read", "write", "pread64", "pwrite64")

# What each call may fail with; the others with DEFAULT. EINTR is tried of all.
DEFAULT = ["EIO", "ENOMEM"]
ERRORS = {
    "open": ["EACCES", "EMFILE"], "openat": ["EACCES", "EMFILE", "ENOSPC", "EIO"],
    "read": ["EIO"], "pread64": ["EIO"], "getdents64": ["EIO", "ENOMEM"],
    "write": ["ENOSPC", "EIO"], "pwrite64": ["ENOSPC", "EIO"],
    "fsync": ["EIO", "ENOSPC"], "fdatasync": ["EIO", "ENOSPC"],
    "ftruncate": ["EIO", "ENOSPC"], "fallocate": ["ENOSPC", "EIO", "EOPNOTSUPP"],
    "fcntl": ["ENOLCK", "EAGAIN"], "flock": ["ENOLCK", "EAGAIN"], "mmap": ["ENOMEM", "EACCES"],
    "link": ["EACCES", "ENOSPC", "EIO"], "rename": ["EACCES", "ENOSPC", "EIO"], "mkdir": ["EACCES", "ENOSPC"],
    "unlink": ["EACCES", "EIO"], "newfstatat": ["EACCES", "EIO", "ENOMEM"], "statfs": ["EIO", "ENOMEM"],
    "close": ["EIO"],
}

# What faults have cost that have found a defect: each is part of every sample.
FOUND = {
    "`pread64` of recordings/catalogue.sqlite-wal, start: EIO on": "database errors: io, catalogue in memory",
    "`openat` of recordings/catalogue.sqlite, start: EACCES once": "database errors: readonly, catalogue in memory",
    "`openat` of recordings/catalogue.sqlite-wal, start: EACCES once": "database errors: readonly, catalogue in memory",
    "`getdents64` of recordings, recovery: EIO once": "recovery delayed",
    "`getdents64` of recordings, recovery: EIO on": "earlier part kept, recovery delayed",
    "`openat` of recordings, recovery: EINTR often": "nothing",
    "`flock` of recordings/EARLIER_part002.ts.part, begin: ENOLCK once": "recordings refused: other",
    "`write` of recorder.log, recovery: short often": "nothing",
}

# Without these the recorder may not start.
NEEDED = ("recorder.json5", "recorder.log", "recordings", "recordings/.writable")


class Cell(NamedTuple):
    """A call, what it is made to return, and how often: `once`, or from its place `on`, or every other time from the start."""

    call: Call
    file: str
    error: str
    when: str
    # How many of these calls on the file the start makes.
    in_start: int = 0

    @property
    def subject(self):
        return f"`{self.call.title}` of {self.file}, {self.call.stage}"

    @property
    def occurrences(self):
        place = self.call.place_of_all if self.is_unnamed else self.call.place
        often = f"{place}" if self.is_unnamed else "1+2"
        return {"once": f"{place}", "on": f"{place}+", "often": often}[self.when]

    @property
    def is_attached(self):
        """Whether the fault comes with the signal: threads that have made many calls by then would make its place unsure."""
        return self.when != "often" and self.call.stage in ATTACHED

    @property
    def may_refuse(self):
        """Whether the recorder may not start: without its configuration, its log, or a directory that can be written."""
        is_taken = self.call.command == "F_OFD_SETLK" and self.error == "EAGAIN"
        # strace counts for each thread: what hits one later may hit the one that starts before.
        is_in_start = self.call.stage == "start" or not self.is_attached and self.call.place <= self.in_start
        return is_in_start and (self.file in NEEDED or is_taken)

    @property
    def is_unnamed(self):
        """Whether the file's name has the process's number in it, so that it is known by its place alone."""
        return self.file == "recordings/.writable"


def is_sure(call, file):
    """Whether every run makes the call in this stage."""
    # After the signal there is media to write, or to sync, only when some is left in the pipe.
    is_rest = call.stage == "finalize" and call.name in ("write", "fdatasync") and file.endswith(".part")
    # The disk is looked at before the first recording, and once a second.
    is_look = call.stage != "begin" and call.name == "statfs"
    # The log's thread takes all lines that wait at once: how many batches the last phases make depends on when it runs.
    is_last_batch = call.stage == "close" and file == "recorder.log"
    return not is_rest and not is_look and not is_last_batch


def cells_of(first):
    """A cell for each error of each of these, which have none yet."""
    cells = {}
    for cell in first:
        for error in ERRORS.get(cell.call.name, DEFAULT):
            for when in ("once", "on"):
                cells[cell.call, cell.file, error, when] = cell._replace(error=error, when=when)
        cells.setdefault((cell.call.name, cell.file, "EINTR"), cell._replace(error="EINTR", when="often"))
        # The shared memory's file is filled byte by byte.
        if cell.call.name in TRANSFERS and not cell.file.endswith("-shm"):
            cells.setdefault((cell.call.name, cell.file, "short"), cell._replace(error="short", when="often"))
    return list(cells.values())
