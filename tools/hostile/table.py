"""What was tried, and what it cost."""

import re
import time
from collections import Counter

from harness import cpu_seconds, descriptors, resident_bytes, threads

from .attacks import read_diary

# What the programs count of all this.
COST = re.compile(r"dropped|hidden|refused|missed|wrong|evict|errors_total|republish|reject|restarts|unreadable|left_out")


class Figures:
    """What a program takes, over all of its lives."""

    def __init__(self, name):
        self.name = name
        self.peak = self.descriptors = self.threads = 0
        self.ended_cpu = self.cpu = 0.0
        self.largest, self.largest_at = 0, 0.0  # Resident memory when it was looked at.

    def watch(self, pid):
        self.pid = pid
        self.ended_cpu, self.cpu = self.ended_cpu + self.cpu, 0.0

    def sample(self):
        try:
            self.descriptors = max(self.descriptors, descriptors(self.pid))
            self.threads = max(self.threads, threads(self.pid))
            self.cpu = cpu_seconds(self.pid)
        except (FileNotFoundError, ProcessLookupError):
            return
        self.peak = max(self.peak, resident_bytes(self.pid, peak=True) / 2**20)
        if (resident := resident_bytes(self.pid)) > self.largest:
            self.largest, self.largest_at = resident, time.time()


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(share * len(times)))] * 1000 if times else float("nan")


def print_table(world, clients, statuses, segments):
    entries = sorted(entry for diary in world.diaries for entry in read_diary(diary))
    counts = Counter((kind, title) for _, _, kind, _, title, _ in entries)
    print("\n| attack by | what | times |\n|---|---|---:|")
    for (kind, title), count in sorted(counts.items()):
        print(f"| {kind} | {title} | {count} |")
    print("\n| honest | answered | failed | p50 ms | p99 ms | longest ms |\n|---|---:|---:|---:|---:|---:|")
    for client in clients:
        print(f"| {client.what} | {len(client.times)} | {len(client.failures)} | {percentile(client.times, 0.5):.1f} |"
              f" {percentile(client.times, 0.99):.1f} | {percentile(client.times, 1):.1f} |")
    print(f"| stream | {segments} segments | | | | |")
    print("\n| program | unwanted ends | CPU s | peak MiB | descriptors | threads | log lines | exit status | stop s |"
          "\n|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, figures in world.figures.items():
        status, seconds = statuses[name]
        ends = sum(1 for _, ended, _ in world.ends if ended == name)
        print(f"| {name} | {ends} | {figures.ended_cpu + figures.cpu:.1f} | {figures.peak:.0f} | {figures.descriptors} | {figures.threads} |"
              f" {world.log(name).count(chr(10))} | {status} | {seconds:.1f} |")
    print("\n| counter | at the last scrape |\n|---|---:|")
    for series, value in re.findall(r"^(streamvault_\w+(?:\{[^\n]*\})?) (\S+)$", world.page.body, re.M):
        if COST.search(series) and "evil" not in series and float(value):
            print(f"| `{series}` | {value} |")
    moments = [(figures.largest_at, f"{name} took most memory") for name, figures in world.figures.items()]
    moments += [(moment, f"{name} ended with {status}") for moment, name, status in world.ends[:20]]
    for moment, what in moments:
        during = sorted({f"{kind}: {body}" for began, ended, kind, body, _, _ in entries if began - 0.5 <= moment <= ended + 3})
        print(f"\n{what} after {moment - world.began:.1f} s, during or shortly after {', '.join(during)}")
    for problem, count in Counter((body, problem) for _, _, _, body, _, problem in entries if problem).most_common(10):
        print(f"\nnot done as meant: {problem[0]}: {problem[1]} ({count} times)")
    print()
