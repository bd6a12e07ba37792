"""How a recorder ends: the plain way, which all others are made of."""

import signal
import time

from .gate import is_pinned
from .sources import COMMAND_STREAMS

ALL_COURSES = ("goes on", "told to end after", "told to end with", "told to end before", "killed")
# Of an end that nobody asked for there is no middle.
SUDDEN_COURSES = ("goes on", "told to end after", "killed before", "killed after")


class Ending:
    """SIGTERM, and enough time."""

    name = "SIGTERM, 30 s of grace"
    weight = 12
    grace = "30s"
    outcomes = {"clean"}  # As Prometheus must have them, when the machine is not too slow.
    courses = ALL_COURSES
    fields = {}
    is_pinned, last_author = False, None  # What could be seen of the threads before they were killed.

    def __init__(self, pod, random, course):
        self.pod, self.random, self.course = pod, random, course
        self.deaf = [name for name in COMMAND_STREAMS if random.random() < 0.2]

    def prepare(self):
        """Before the start; what the recorder's command is wrapped in."""
        return []

    def end(self, run):
        self.terminate(run)
        self.pause(0.3)
        self.course.in_the_middle()
        run.await_end()

    def close(self):
        """Takes away what `prepare` made."""

    def terminate(self, run):
        run.tell(signal.SIGTERM)
        self.course.after_signal()

    def pause(self, most):
        time.sleep(self.random.uniform(0, most))

    def kill(self, run):
        """SIGKILL at a moment that the log can tell, if anything can."""
        run.freeze()
        self.is_pinned = is_pinned(run)
        run.process.kill()
        run.await_end()
