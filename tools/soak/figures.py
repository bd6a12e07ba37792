"""What is watched for an hour, and when it counts as flat."""

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import cpu_seconds, descriptors, resident_bytes, threads  # noqa: E402

MEBIBYTE = 1 << 20


class Process:
    """What the kernel measures of a process; nothing once it is gone."""

    def __init__(self, pid):
        self.pid = pid
        self.last = None

    def figures(self):
        try:
            return {
                "resident MiB": resident_bytes(self.pid) / MEBIBYTE,
                "descriptors": descriptors(self.pid),
                "threads": threads(self.pid),
                "mappings": Path(f"/proc/{self.pid}/maps").read_text().count("\n"),
            }
        except (FileNotFoundError, ProcessLookupError):
            return {}

    def cpu(self, name, factor, work):
        """CPU since the last time, by the work done meanwhile; none at the first."""
        seconds = cpu_seconds(self.pid)
        last, self.last = self.last, (seconds, work)
        return {f"CPU {name}": factor * (seconds - last[0]) / (work - last[1])} if last else {}


def size(*paths):
    """Bytes of files; of a directory, of all the files in it. One that goes meanwhile has none."""
    total = 0
    for path in paths:
        for file in path.iterdir() if path.is_dir() else [path]:
            try:
                total += file.stat().st_size
            except FileNotFoundError:
                pass
    return total


class Figure:
    """A figure over time, which is flat when it has grown by no more than it may.

    Compared are the medians of the second and of the last tenth of the time: the first tenth is for warming up.
    """

    def __init__(self, name, may_grow=0.0, share=0.0):
        self.name = name
        self.may_grow, self.share = may_grow, share
        self.samples = []

    def add(self, moment, value):
        """`moment` is from 0, the begin of the soak, to 1."""
        self.samples.append((moment, value))

    def median(self, start, end):
        values = [value for moment, value in self.samples if start <= moment <= end]
        return statistics.median(values) if values else None

    @property
    def before(self):
        return self.median(0.1, 0.2)

    @property
    def after(self):
        return self.median(0.9, 1)

    @property
    def allowed(self):
        return max(self.may_grow, self.share * (self.before or 0))

    @property
    def is_flat(self):
        return None not in (self.before, self.after) and self.after - self.before <= self.allowed


class Figures:
    """All figures of a soak, in the order of their first sample."""

    def __init__(self, limits):
        self.limits = limits
        self.all = {}

    def add(self, moment, subject, values):
        """`limits` say by how much a figure may grow: its amount, or the share of what it was."""
        for name, value in values.items():
            key = f"{subject}: {name}"
            amount, share = self.limits.get(key, self.limits.get(name, (0, 0)))
            self.all.setdefault(key, Figure(key, amount, share)).add(moment, value)

    def show(self):
        """Prints the table; whether all is flat."""
        print(f"\n{'':52}{'before':>11}{'after':>11}{'may grow':>11}")
        for figure in self.all.values():
            cells = "".join(f"{'-' if value is None else format(value, '.2f'):>11}"
                            for value in (figure.before, figure.after, figure.allowed))
            print(f"{figure.name:52}{cells}  {'flat' if figure.is_flat else 'GROWS'}")
        return all(figure.is_flat for figure in self.all.values())
