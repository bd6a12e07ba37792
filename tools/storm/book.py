"""The book of a pod: what each Prometheus has counted of it, beside the truth."""

from collections import Counter, defaultdict

# Families that count something, what they count, and the labels that matter.
COUNTERS = {
    "streamvault_recorder_runs_total": ("runs", []),
    "streamvault_crashes_total": ("crashes", []),
    "streamvault_shutdowns_total": ("shutdowns", ["outcome"]),
    "streamvault_shutdown_phases_total": ("phases", ["phase", "outcome"]),
    "streamvault_recordings_started_total": ("recordings started", []),
    "streamvault_recordings_finished_total": ("recordings", ["result"]),
    "streamvault_recordings_refused_total": ("recordings refused", ["reason"]),
    "streamvault_recording_write_errors_total": ("write errors", ["reason"]),
    "streamvault_finalize_errors_total": ("finalize errors", ["reason"]),
    "streamvault_recovered_recordings_total": ("recovered", ["result"]),
    "streamvault_telemetry_refused_declarations_total": ("declarations refused", []),
    "streamvault_shutdown_phase_duration_seconds_count": ("phase durations", ["phase"]),
    "streamvault_shutdown_duration_seconds_count": ("shutdown durations", []),
}
SUMS = {
    "streamvault_shutdown_phase_duration_seconds_sum": ("phase durations", ["phase"]),
    "streamvault_shutdown_duration_seconds_sum": ("shutdown durations", []),
}
NAMES = "|".join([*COUNTERS, *SUMS])
OVERLAP = 5  # Seconds that are read again, as samples of a scrape come in late.


class Page:
    """What one Prometheus has counted: the increases between its samples, with resets honoured."""

    def __init__(self, prometheus):
        self.prometheus = prometheus
        self.counts = Counter()
        self.seconds = defaultdict(float)
        self.latest = {}  # {series: (time, value)}
        self.is_new = True
        self.falls = 0

    def read(self, instance, start, end):
        for series, samples in self.prometheus.samples(instance, NAMES, start, end).items():
            labels = dict(series)
            table, into = (COUNTERS, self.counts) if labels["__name__"] in COUNTERS else (SUMS, self.seconds)
            what, names = table[labels["__name__"]]
            into[(what, *(labels[name] for name in names))] += self.increase(series, samples)
        self.is_new = False

    def increase(self, series, samples):
        # The first value of a series that is created later does not count as an increase.
        moment, value = self.latest.get(series, (0, 0 if self.is_new else samples[0][1]))
        total = 0
        for later, next_value in samples:
            if later <= moment:
                continue
            # In a pod a counter never falls: each run goes on where the last one was.
            self.falls += next_value < value
            total += next_value - value if next_value >= value else next_value
            moment, value = later, next_value
        self.latest[series] = (moment, value)
        return total


class Book:
    def __init__(self, servers, instance, created_at):
        self.instance = instance
        self.pages = [Page(one) for one in servers]
        self.created_at = self.read_until = created_at
        self.settled = Counter()
        self.timed = [defaultdict(float) for _ in servers]

    def read(self, until):
        start = max(self.created_at, self.read_until - OVERLAP)
        for page in self.pages:
            page.read(self.instance, start, until)
        self.read_until = until

    def close(self, truth, running=Counter()):
        """Settles what is over, while a run is running; its Entry."""
        found = [+page.counts - self.settled - running for page in self.pages]
        missing = [self.settled + running - page.counts for page in self.pages]
        fits = [one for one in truth.alternatives if found == [one] * len(found) and not any(missing)]
        taken = fits[0] if fits else truth.alternatives[0]
        durations = [{key: page.seconds[key] - timed[key] for key in page.seconds}
                     for page, timed in zip(self.pages, self.timed, strict=True)]
        self.timed = [page.seconds.copy() for page in self.pages]
        # What did not fit is not held against the rounds that follow.
        self.settled = Counter(self.pages[0].counts) - running if not fits else self.settled + taken
        return Entry(truth, taken, found, missing, durations, bool(fits))


class Entry:
    """A run in the book: the truth that was taken, and what each Prometheus has."""

    def __init__(self, truth, taken, found, missing, durations, is_exact):
        self.truth, self.taken, self.found, self.missing = truth, taken, found, missing
        self.durations, self.is_exact = durations, is_exact

    def difference(self):
        """In words; nothing when all is exact."""
        if self.is_exact:
            return None
        lines = []
        for index, (found, missing) in enumerate(zip(self.found, self.missing, strict=True)):
            keys = sorted({*found, *missing, *self.taken}, key=str)
            apart = {key: (self.taken[key], found[key] - missing[key]) for key in keys}
            wrong = [f"{' '.join(key)}: {wanted}, not {has}" for key, (wanted, has) in apart.items() if wanted != has]
            lines.append(f"Prometheus {index}: {'; '.join(wrong) or 'another of the ways that it may have been'}")
        return " | ".join(lines)
