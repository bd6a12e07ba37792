"""Ends in a phase that is held up by a line of the log."""

import time

from harness import wait_for

from .ending import Ending
from .gate import Gate, author_of_last_line, is_pinned, stands_at_gate
from .pod import PATIENCE
from .story import PHASES, REQUEST, Story

LOG_OF_A_SHUTDOWN = 1900  # Bytes, about.


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
        run.line(REQUEST, PATIENCE)
        wait_for("the gate", lambda: stands_at_gate(run), PATIENCE)
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
