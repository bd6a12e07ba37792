"""Ends in a hurry, or by SIGKILL, whoever sends it: an orchestrator, or the kernel when it has no memory."""

import signal
import time

from harness import wait_for

from .ending import ALL_COURSES, SUDDEN_COURSES, Ending
from .faults import MemoryGroup
from .pod import PATIENCE
from .sources import COMMAND_STREAMS


class Hurried(Ending):
    """A second signal leaves each phase a second; a source that heeds none is left behind."""

    name = "SIGTERM twice"
    weight = 5
    outcomes = {"clean", "degraded"}

    def __init__(self, pod, random, course):
        super().__init__(pod, random, course)
        self.deaf = random.sample(COMMAND_STREAMS, random.randrange(3))

    def end(self, run):
        self.terminate(run)
        self.pause(0.3)
        run.tell(signal.SIGTERM)
        self.course.in_the_middle()
        run.await_end()


class ShortGrace(Ending):
    """As a kubelet with little patience."""

    name = "SIGTERM, 3 s of grace, SIGKILL if need be"
    weight = 8
    grace = "3s"
    outcomes = {"clean", "degraded", "killed"}

    def end(self, run):
        self.terminate(run)
        end = time.monotonic() + 3
        self.pause(0.3)
        self.course.in_the_middle()
        try:
            run.await_end(max(0, end - time.monotonic()))
        except TimeoutError:
            self.kill(run)


class KilledWhileStopping(Ending):
    name = "SIGTERM, then SIGKILL at any moment"
    weight = 12
    outcomes = {"clean", "killed", "crashed"}

    def end(self, run):
        self.terminate(run)
        self.pause(5 if self.deaf else 0.15)
        self.kill(run)
        self.course.in_the_middle()


class Killed(Ending):
    name = "SIGKILL out of the blue"
    weight = 12
    outcomes = {"crashed"}
    courses = (*SUDDEN_COURSES, "told to end with", "told to end before")

    def end(self, run):
        run.process.kill()
        self.course.after_signal()
        run.await_end()
        run.signalled_at = None


class OutOfMemory(Ending):
    name = "out of memory"
    weight = 4
    outcomes = {"crashed"}
    courses = SUDDEN_COURSES
    group = None

    def prepare(self):
        self.group = MemoryGroup(self.pod.name)
        return self.group.join

    def end(self, run):
        self.group.exhaust(run.process.pid, self.pod.storm.processes)
        run.await_end()

    def close(self):
        if self.group:
            self.group.close()


class OutOfMemoryWhileStopping(OutOfMemory):
    """Sources that do not heed their signals give it the time."""

    name = "SIGTERM, then out of memory"
    outcomes = {"killed", "clean"}
    courses = ALL_COURSES

    def __init__(self, pod, random, course):
        super().__init__(pod, random, course)
        self.deaf = COMMAND_STREAMS

    def end(self, run):
        self.terminate(run)
        self.pause(2)
        self.group.exhaust(run.process.pid, self.pod.storm.processes)
        self.course.in_the_middle()
        run.await_end()


class Hanging(Ending):
    """Stopped until the exporter says that it hangs; then what a kubelet does."""

    name = "hangs, is found to hang, and is killed"
    weight = 3
    outcomes = {"crashed"}
    courses = ("goes on", "told to end after", "killed before, back at once", "killed after")

    def end(self, run):
        run.freeze()
        self.is_pinned, run.cut_at = True, time.time()
        run.note_deliveries()
        wait_for("the verdict", self.pod.is_hung, PATIENCE)
        run.tell(signal.SIGTERM)
        self.pause(3)
        run.process.kill()
        run.await_end()
