"""The ways in which a recorder ends."""

import contextlib
import fcntl
import signal
import time

from faults.bench import until

from .faults import MemoryGroup, no_room_for_names
from .gate import Gate, author_of_last_line, is_pinned, stands_at_gate
from .pod import PATIENCE
from .sources import COMMAND_STREAMS
from .story import PHASES, Story

LOG_OF_A_SHUTDOWN = 1900  # Bytes, about.
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


class Gated(Ending):
    """A phase that is held up for a while, by a line that it cannot write."""

    name = "SIGTERM, a phase held up"
    weight = 12
    gate = None

    def prepare(self):
        self.gate = Gate(self.pod.base / "gate")
        self.fields = {"log": {"file": str(self.gate.path)}}
        return []

    def end(self, run):
        self.gate.narrow(self.random.randrange(*self.lines_of_a_phase()))
        self.terminate(run)
        until("the gate", lambda: stands_at_gate(run), PATIENCE)
        self.course.in_the_middle()
        self.at_gate(run)

    def lines_of_a_phase(self):
        """Where the lines of a phase are in the log of a shutdown, by one that has been seen."""
        phase = self.random.choice(PHASES)
        return self.pod.storm.ranges.get(phase, (0, LOG_OF_A_SHUTDOWN))

    def at_gate(self, run):
        self.hold(run)
        self.gate.open_until(run.process)
        run.await_end()

    def hold(self, run):
        """Leaves it there for a while, which the phase it is in must have taken."""
        phase, start = self.phase(run), time.monotonic()
        self.pause(1.5)
        seconds = time.monotonic() - start
        if phase and phase == self.phase(run):
            run.held = {phase: seconds}

    def phase(self, run):
        """The phase in which it is for certain, if there is one."""
        story = Story(run.log)
        is_known = is_pinned(run) and story.request is not None and len(story.ended) < len(PHASES)
        return PHASES[len(story.ended)] if is_known else None

    def close(self):
        if self.gate:
            self.gate.close()


class KilledInPhase(Gated):
    name = "SIGTERM, then SIGKILL in a phase"
    weight = 18
    outcomes = {"clean", "killed"}  # Clean, when the last word was already said.

    def at_gate(self, run):
        self.pause(0.5)
        self.last_author = author_of_last_line(run)
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
        until("the verdict", self.pod.is_hung, PATIENCE)
        run.tell(signal.SIGTERM)
        self.pause(3)
        run.process.kill()
        run.await_end()


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


ENDINGS = {one.name: one for one in [
    Ending, ShortGrace, Gated, KilledInPhase, KilledWhileStopping, Killed, OutOfMemory, OutOfMemoryWhileStopping, Hanging,
    NoSpaceInFinalize, LockedInFinalize, FailingDiskInFinalize, HangingFinalize, HangingDatabase,
]}
