"""What strace has written of a program: its system calls, each with the place at which another run can be made to fail."""

import os
import re
from collections import Counter
from typing import NamedTuple

# Calls that concern no file and no connection; what is not named here is tried, also a call that is new in the code.
NEITHER_FILE_NOR_SOCKET = set("""
    arch_prctl brk clock_gettime clock_nanosleep clone clone3 execve exit exit_group futex getpid getrandom gettid
    getuid geteuid getgid getegid kill madvise membarrier mprotect mremap munmap prctl prlimit64 restart_syscall rseq
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait sched_getaffinity sched_yield set_robust_list
    set_tid_address setpriority sigaltstack sysinfo tgkill uname vfork wait4 waitid
""".split())

ENTRY = re.compile(r"(\d+) +(\w+)\((.*)")
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
DESCRIPTOR = re.compile(r"\d+<((?:->|[^<>])*)>")
COMMAND = re.compile(r"\b(F_\w+|SIOC\w+|TIOC\w+)\b")


class NotMade(AssertionError):
    """The call that was to fail was not made: on a busy machine threads come in another order."""


class Call(NamedTuple):
    """A call that a program made: its `place` is its number among the calls of its name, by its thread, on its target."""

    name: str
    command: str
    target: str
    place: int
    place_of_all: int
    stage: str

    @property
    def title(self):
        return f"{self.name} {self.command}".strip()


def target_of(arguments):
    """The first path, file or socket that the arguments name; empty when there is none."""
    path = QUOTED.match(re.sub(r"^AT_FDCWD<[^>]*>, ", "", arguments))
    if path and path[0] != '""':
        return path[0][1:-1]
    found = DESCRIPTOR.search(QUOTED.sub("", arguments))
    return found[1] if found else ""


def calls(path, marks=(), directory="/", since="", anew=None):
    """The calls in the trace file `path` of a program that was started in `directory`; not those of its children.

    `marks` are (words, stage): a write of these words ends the stage before. The first call is that with the words `since`:
    before it, the program is loaded. In the stage `anew` places begin again from 1, as for a tracer that comes then.
    Paths are made absolute.
    """
    stage, marks, is_loaded = "start", list(marks), False
    places, places_of_all = Counter(), Counter()
    entries = [entry.groups() for line in path.read_text(errors="replace").splitlines() if (entry := ENTRY.match(line))]
    children = {thread for thread, name, _ in entries[1:] if name == "execve"}
    for thread, name, arguments in entries:
        is_loaded = is_loaded or since in arguments
        if thread in children or name in NEITHER_FILE_NOR_SOCKET:
            continue
        target = target_of(arguments)
        if target and ":[" not in target:
            target = os.path.join(directory, target)
        places_of_all[thread, name] += 1
        places[thread, name, target] += 1
        command = COMMAND.search(QUOTED.sub("", arguments))
        if is_loaded:
            yield Call(name, command[1] if command else "", target, places[thread, name, target],
                       places_of_all[thread, name], stage)
        if marks and name in ("write", "writev") and marks[0][0] in arguments:
            stage = marks.pop(0)[1]
            if stage == anew:
                places.clear()
                places_of_all.clear()
