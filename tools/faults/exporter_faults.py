"""The faults that the exporter is to meet: what each of its system calls may return instead."""

import re
from typing import NamedTuple

from strace import Call

DEFAULT = ["ENOMEM"]
ERRORS = {
    "accept4": ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ECONNABORTED", "EPERM"],
    "recvfrom": ["ECONNRESET", "ENOMEM"], "sendmsg": ["EPIPE", "ECONNRESET", "ENOBUFS", "ENOMEM", "EAGAIN"],
    "socket": ["EMFILE", "ENFILE", "ENOMEM"], "bind": ["EADDRINUSE", "EACCES", "ENOMEM"], "listen": ["EADDRINUSE"],
    "openat": ["EMFILE", "ENFILE", "EACCES", "EIO", "ENOMEM", "ENOSPC"], "pread64": ["EIO", "retval=0", "retval=64"],
    "read": ["EIO"], "getdents64": ["EIO", "ENOMEM"], "newfstatat": ["EACCES", "EIO", "ENOMEM"], "poll": ["ENOMEM"],
    "fcntl F_OFD_SETLK": ["ENOLCK", "EAGAIN"], "fcntl F_OFD_GETLK": ["ENOLCK"], "ftruncate": ["ENOSPC", "EIO"],
    "fallocate": ["ENOSPC", "EIO"], "mmap": ["ENOMEM"],
    "rename": ["EACCES", "ENOSPC", "EIO"], "unlink": ["EACCES", "EIO"], "write": ["ENOSPC", "EIO"], "ioctl": ["EIO"],
    "close": ["EIO"], "chmod": ["EPERM", "EIO"], "pipe2": ["EMFILE", "ENFILE"],
}

# What faults have cost that have found a defect: each is part of every sample.
FOUND = {
    "`getdents64` of telemetry, serving: EIO on": "nothing",
    "`openat` of telemetry, serving: EMFILE on": "nothing",
    "`ioctl TIOCOUTQ` of web connection, serving: EIO on": "nothing",
    "`poll` of pipe, serving: ENOMEM once": "nothing",
}


class Cell(NamedTuple):
    """A call, what it returns instead, and how often: `once`, from its place `on`, or `often`: every third time from there."""

    call: Call
    target: str
    error: str
    when: str

    @property
    def subject(self):
        return f"`{self.call.title}` of {self.target}, {self.call.stage}"

    def strace(self, base):
        """The fault, as strace is told: on the file, where it is one of the exporter's that was started in `base`."""
        is_file = self.target.split("/")[0] in ("telemetry", "token", "ingest")
        place = self.call.place if is_file else self.call.place_of_all
        words = ["-e", f"trace={self.call.name}", "-e", f"inject={self.call.name}:{self.injection(place)}"]
        return words + (["-P", str(base / self.target)] if is_file else [])

    def injection(self, place):
        error = self.error if "=" in self.error else f"error={self.error}"
        # Two polls in turn must not be hit in turn.
        return f"{error}:when=" + {"once": f"{place}", "on": f"{place}+", "often": f"{place}+3"}[self.when]


def cells_of(exporter, made, stage):
    first = {}
    for call in made:
        target = target_name(exporter, call.target)
        # A signal handler's byte into the program's own pipe cannot fail; what is open at the end is closed by that.
        if call.stage == "start" and (call.name, target) != ("write", "pipe") and (call.name, stage) != ("close", "leaving"):
            first.setdefault((call.title, target), Cell(call._replace(stage=stage), target, "", ""))
    cells, often = [], set()
    for cell in first.values():
        for error in errors_of(cell.call):
            cells.append(cell._replace(error=error, when="once"))
        if stage == "serving":
            cells.append(cell._replace(error=errors_of(cell.call)[0], when="on"))
        if cell.call.name not in often:
            often.add(cell.call.name)
            cells.append(cell._replace(error="EINTR", when="often"))
        if stage == "serving" and cell.call.name in ("recvfrom", "sendmsg") and cell.target == "web connection":
            cells.append(cell._replace(error="short", when="often"))
    return cells


def errors_of(call):
    return ERRORS.get(call.title) or ERRORS.get(call.name, DEFAULT)


def target_name(exporter, target):
    """A name that is the same in every exporter."""
    for beginning, name in (("TCP", "web"), ("UNIX", "ingest")):
        if target.startswith(beginning):
            return f"{name} connection" if "->" in target else f"{name} socket"
    if target.startswith("pipe"):
        return "pipe"
    target = target.replace(f"{exporter.base}/", "").replace("exporter.log", "standard output")
    return re.sub(r"^/proc/\d+/", "/proc/self/", target) or "all"
