"""Ends with a fault: files cannot be finalized, or the database cannot be closed."""

import contextlib
import fcntl
import time

from .ending import Ending
from .faults import no_room_for_names
from .pod import PATIENCE
from .story import Story


class FinalizeFault(Ending):
    """One file, or all of them, cannot be brought to their names."""

    grace = "8s"
    weight = 4
    outcomes = {"degraded"}

    def __init__(self, pod, random, course):
        super().__init__(pod, random, course)
        self.deaf = []

    def end(self, run):
        part = self.random.choice([one.path for one in Story(run.log).recordings() if not one.end])
        with self.fault(run, part):
            self.terminate(run)
            self.pause(0.3)
            self.course.in_the_middle()
            self.await_end(run)

    def await_end(self, run):
        run.await_end()


class NoSpaceInFinalize(FinalizeFault):
    name = "finalize: disk full"

    def fault(self, run, part):
        return no_room_for_names(self.pod.recordings)


class LockedInFinalize(FinalizeFault):
    name = "finalize: file locked"

    @contextlib.contextmanager
    def fault(self, run, part):
        with open(part, "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            yield


class FailingDiskInFinalize(FinalizeFault):
    name = "finalize: EIO"

    def fault(self, run, part):
        return self.pod.fault(run, part, "fsync", "error=EIO")


class HangingFinalize(FinalizeFault):
    name = "finalize: fsync hangs beyond its budget"
    weight = 2

    def fault(self, run, part):
        return self.pod.fault(run, part, "fsync", "delay_enter=60000000")

    def await_end(self, run):
        run.end(PATIENCE)
        run.exited_at = time.time()


class HangingDatabase(HangingFinalize):
    name = "database: fsync hangs beyond its budget"

    def fault(self, run, part):
        wal = self.pod.recordings / "catalogue.sqlite-wal"
        return self.pod.fault(run, wal, "fsync,fdatasync", "delay_enter=60000000")
