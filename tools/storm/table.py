"""The one table at the end, and whether every cell of it is exact."""

import statistics
from collections import Counter, defaultdict

from .pod import SYNC_INTERVAL
from .story import PHASES

TOLERANCE = 0.010  # Seconds.
MOST_LAG = 5  # Seconds: less than the shortest wait for a scraper.


UNTOLD = "rounds in which nobody outside could tell on which side of a step the kill came"


class Table:
    def __init__(self, rounds, planned):
        self.rounds = rounds
        self.entries = [one.entry for one in rounds if one.entry]
        self.is_exact = len(self.entries) == planned
        self.lines = []

    def text(self):
        self.add_kinds()
        self.head("counted", "in truth", "by Prometheus 1", "by Prometheus 2")
        self.add_counts()
        self.head("measured", "found", "bar")
        self.add_durations()
        self.add_final_values()
        self.add_files()
        self.add_departures()
        return "\n".join(self.lines)

    def head(self, *names):
        self.lines += ["", "| " + " | ".join(names) + " |", "|" + "---|" * len(names)]

    def row(self, *cells):
        self.lines.append("| " + " | ".join(map(str, cells)) + " |")

    def bar_row(self, what, value, bar, holds):
        self.row(what, value, bar)
        self.is_exact &= holds

    def add_kinds(self):
        self.head("how it ended", "rounds", "of which exact")
        kinds = Counter(one.choice.ending for one in self.rounds)
        exact = Counter(one.choice.ending for one in self.rounds
                        if one.entry and one.entry.is_exact and not one.troubles)
        for kind, count in kinds.most_common():
            self.row(kind, count, exact[kind])
            self.is_exact &= exact[kind] == count
        cut = Counter(start.signal for one in self.rounds for start in one.cut_starts)
        for signal, count in cut.items():
            self.row(f"and before the next round, {signal} within half a second of a start", count, "")

    def add_counts(self):
        truth = sum((entry.taken for entry in self.entries), Counter())
        pages = [Counter(), Counter()]
        for entry in self.entries:
            for page, found, missing in zip(pages, entry.found, entry.missing, strict=True):
                page.update(found)
                page.subtract(missing)
        self.is_exact &= all(+page == truth for page in pages)
        groups = defaultdict(list)
        for key in sorted({*truth, *pages[0], *pages[1]}, key=place):
            groups[title(key)].append(key)
        for name, keys in groups.items():
            labels = ": " + ", ".join(key[1] for key in keys) if len(keys[0]) > 1 else ""
            self.row(name + labels, *(", ".join(str(int(one[key])) for key in keys) for one in [truth, *pages]))
        self.row(UNTOLD, sum(len(entry.truth.alternatives) > 1 for entry in self.entries), "", "")

    def add_durations(self):
        for what, found in (("phase", self.phases()), ("shutdown", self.shutdowns())):
            told = [error for error, is_told, _ in found if is_told]
            largest, bounded = max(told, default=0), len(found) - len(told)
            beyond = f"; {bounded} for which the clock outside was itself held up: within its bounds" if bounded else ""
            self.bar_row(f"largest error of a {what}'s duration", f"{largest * 1000:.1f} ms of {len(found)} compared{beyond}",
                         "10 ms", largest <= TOLERANCE and all(holds for *_, holds in found))

    def phases(self):
        return [judged(span, seconds[("phase durations", phase)]) for one in self.rounds if one.entry
                for seconds in one.entry.durations for phase, span in one.truth.spans.items()]

    def shutdowns(self):
        return [judged(one.truth.whole, seconds[("shutdown durations",)]) for one in self.rounds
                if one.entry and one.truth.whole for seconds in one.entry.durations]

    def add_final_values(self):
        values = sum(one.final_values for one in self.rounds)
        missed = sum(one.final_values_missed for one in self.rounds)
        self.bar_row("final values missed", f"{missed} of {values}", 0, missed == 0 < values)

    def add_files(self):
        counted = sum(one.taken[("recordings", result)] for one in self.entries for result in ("interrupted", "completed"))
        whole = sum(one.left.finished for one in self.rounds if one.left)
        late = f"; {whole - counted} by a recorder that died before it said so, or whose disk had failed" if whole > counted else ""
        self.row(f"files whole at the end of their run, of {counted} recordings interrupted or completed", f"{whole}{late}", "")
        files, bad = sum(one.files for one in self.rounds), sum(one.undecodable for one in self.rounds)
        self.bar_row("files that do not decode", f"{bad} of {files}, all in the catalogue", 0, bad == 0 < files)
        missing = max((one.missing_footage for one in self.rounds), default=0)
        self.bar_row("most footage that a stream misses", f"{missing:.2f} s", f"{SYNC_INTERVAL:g} s, the sync interval",
                     missing <= SYNC_INTERVAL)

    def add_departures(self):
        gone = defaultdict(list)
        for one in self.rounds:
            if one.departure:
                gone[one.course.name if one.course.leaves else "told to end later"].append(one.departure)
        for name, departures in sorted(gone.items()):
            waited, lags = [one.seconds for one in departures], [one.lag for one in departures]
            self.bar_row(f"last word in both, exporter {name}",
                         f"{sum(not one.trouble for one in departures)} of {len(departures)}; gone after {statistics.median(waited):.2f} s, "
                         f"at most {max(waited):.2f} s; {max(lags) * 1000:.0f} ms after the last acknowledgement",
                         f"all; {MOST_LAG} s", max(lags) < MOST_LAG and not any(one.trouble for one in departures))


def place(key):
    """Rows by what is counted, phases in their order."""
    what, *labels = key
    phase = PHASES.index(labels[0]) if what.startswith("phase") else 0
    return what, labels[1:], phase, labels


def title(key):
    return f"{key[0]} {key[2]}" if len(key) > 2 else key[0]


def judged(span, seconds):
    """A duration's error, whether the clock outside can tell it, and whether the duration holds."""
    error = span.error_of(seconds)
    is_told = error <= TOLERANCE or not span.is_met_by(seconds)
    return error, is_told, span.is_met_by(seconds)
