"""What truly happened, from exit statuses, the bench's own clock, files, and the recorder's log; never from its telemetry.

Where a killed recorder stood between publishing something and writing its line about it, nobody outside can tell: the truth is
then one of several.
"""

import itertools
from collections import Counter
from dataclasses import dataclass

from .gate import AT_GATE, PAST
from .story import LAST_WORDS, PHASES, Recording

OVER = len(PHASES)
CRASHED = -1
STAMP = 0.001  # Stamps in logs are cut to milliseconds.


@dataclass
class Span:
    """What the clocks outside say of a duration: between these bounds for certain, and about so long."""
    low: float
    high: float
    about: float | None = None

    def __add__(self, other):
        about = None if self.about is None or other.about is None else self.about + other.about
        return Span(self.low + other.low, self.high + other.high, about)

    def is_met_by(self, seconds):
        return self.low - STAMP <= seconds <= self.high + STAMP

    def error_of(self, seconds):
        if self.about is None:
            return max(0, self.low - seconds, seconds - self.high)
        return abs(seconds - self.about)


class Truth:
    """The truth of a run that is over."""

    def __init__(self, run, story, recovered, is_pinned=False, last_author=None):
        self.story = story
        positions = self.positions(run, is_pinned)
        base = so_far(story, recovered)
        ends = [self.end_at(position, results)
                for position in positions for results in self.results(positions, last_author)]
        self.alternatives = [base + counts for counts, _ in ends]
        self.verdicts = {verdict for _, verdict in ends}
        self.position = positions[0]
        self.spans = self.phase_spans(run)
        self.whole = self.whole_span(run)

    def follow(self, later, ways):
        """Adds a run that came after it, in all the ways in which that may be counted."""
        self.alternatives = [one + way for one in self.alternatives for way in ways]
        for phase, span in later.spans.items():
            self.spans[phase] = self.spans.get(phase, Span(0, 0, 0)) + span
        if later.whole:
            self.whole = (self.whole or Span(0, 0, 0)) + later.whole

    @property
    def outcomes(self):
        return {outcome for outcome, _ in self.verdicts}

    def positions(self, run, is_pinned):
        """The phases in which it may have been at its end."""
        if run.process.returncode >= 0 and self.story.says("msg=Exiting"):  # Else its own watchdog has cut it off.
            return [OVER]
        number = len(self.story.ended)
        if self.story.request is None:
            return [CRASHED] if is_pinned or not run.signalled_at else [CRASHED, 0]
        if number == OVER or is_pinned or not self.story.says(*LAST_WORDS[PHASES[number]]):
            return [number]
        return [number, number + 1]

    def results(self, positions, last_author):
        """How the recordings ended that were open when the end came; each a way that it may have been."""
        is_settled = min(positions) > 1 or self.story.says(*LAST_WORDS["recordings"])
        ways = []
        for one in self.story.recordings():
            if one.early_result:
                continue
            word = Recording.ENDS.get(one.counted_end, "abandoned")
            result = "interrupted" if word == "whole" else word
            # Its end is published behind its line.
            is_last_line = one.last_line == len(self.story.lines) - 1
            if is_settled or result == "abandoned" or last_author == PAST or last_author == AT_GATE and not is_last_line:
                ways.append([result])
            else:
                ways.append(["abandoned"] if last_author == AT_GATE else [result, "abandoned"])
        return [Counter(("recordings", result) for result in way) for way in itertools.product(*ways)]

    def end_at(self, position, results):
        counts = Counter(results)
        if position == CRASHED:
            return counts + Counter([("crashes",)]), ("crashed", None)
        outcomes = {phase: self.story.outcome(phase) for phase in PHASES[:position]}
        counts.update(("phases", phase, outcome) for phase, outcome in outcomes.items())
        counts.update(("phase durations", phase) for phase in outcomes)
        if position < OVER:
            fatal = PHASES[position]
            counts.update([("shutdowns", "killed"), ("phases", fatal, "killed")])
            return counts, ("killed", fatal)
        is_clean = set(outcomes.values()) == {"ok"} and not results[("recordings", "abandoned")]
        outcome = "clean" if is_clean else "degraded"
        counts.update([("shutdowns", outcome), ("shutdown durations",)])
        return counts, (outcome, None)

    def phase_spans(self, run):
        """{phase: Span}: each begins when the one before it ends, and its line is written right behind its end."""
        ended = self.story.ended
        if not ended:
            return {}
        spans = {}
        begun = [run.signalled_at, ended["signal"]]  # When it began, at the earliest and latest.
        for number, phase in enumerate(PHASES[:len(ended)]):
            earliest = ended[PHASES[number - 1]] if number else run.signalled_at
            if phase == "recordings":
                earliest = max(earliest, self.story.last_finalized_at() or 0)
            low = max(0, earliest - begun[1] - STAMP, run.held.get(phase, 0))
            about = ended[phase] - ended[PHASES[number - 1]] if number else None
            spans[phase] = Span(low, ended[phase] + STAMP - begun[0], about)
            begun = [earliest, ended[phase]]
        return spans

    def whole_span(self, run):
        """From the request, which its line follows at once but for what the phase `signal` takes, to the last line."""
        ended = self.story.ended
        if len(ended) < OVER or run.process.returncode < 0:
            return None
        low = ended["eventsub"] - ended["signal"] - STAMP
        return Span(max(0, low), run.exited_at - run.signalled_at, ended["database"] - ended["signal"])


def so_far(story, recovered):
    """What a run has to its account before it ends."""
    recordings = story.recordings()
    counts = Counter([("runs",)]) + Counter(recovered)
    counts[("recordings started",)] = len(recordings)
    counts.update(("recordings", one.early_result) for one in recordings if one.early_result)
    counts.update({("finalize errors", reason): n for reason, n in story.finalize_errors().items()})
    return +counts
