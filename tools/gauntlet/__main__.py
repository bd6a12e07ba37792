"""Records each situation with the recorder, ffmpeg and streamlink in the same run, and compares what they kept.

usage: python3 -m gauntlet [--recorder-only] [--short] [--batch N] [SITUATION]...     all of them without a name; a part of a name will do

Each program gets an origin of its own, whose clock starts with that program's first request. Counted are media packets by their
hash, from the first segment that all programs have. Fails where the recorder kept fewer than the better of the two others, kept one
twice, or where its files have more decoding errors. Needs streamlink on PATH, but for --recorder-only.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import program

from .media import Media, decoding_errors, packets
from .origin import Origin
from .situations import all_situations

SECONDS = 21  # A stream lasts 10 to 16 s; then each program gets some more to end by itself, or to repeat what it has.


def main():
    arguments = parse_arguments()
    situations = [s for s in all_situations() if not arguments.names or any(name in s.name for name in arguments.names)]
    if arguments.short:
        situations = situations[::3]
    if arguments.recorder_only:
        situations = [s for s in situations if s.form != "packed"]  # Not recorded yet.
    with tempfile.TemporaryDirectory(prefix="gauntlet-") as base:
        media = Media(Path(base) / "media")
        others = [] if arguments.recorder_only else [FFmpeg, Streamlink]
        failures = []
        print(f"{'situation':40} " + " ".join(f"{p.name + ' v+a (twice) files errors':34}" for p in [Recorder, *others]))
        for start in range(0, len(situations), arguments.batch):
            batch = situations[start : start + arguments.batch]
            for situation, results, sent in record(batch, Path(base) / str(start), media, others, arguments.keep):
                failures += report(situation, results, sent)
    print(f"gauntlet: {len(situations)} situations, {len(failures)} failed")
    for failure in failures:
        print(f"gauntlet: {failure}", file=sys.stderr)
    if not failures:
        print(f"gauntlet: {len(situations)} checks passed")
    sys.exit(bool(failures))


def parse_arguments():
    parser = argparse.ArgumentParser(prog="gauntlet")
    parser.add_argument("--recorder-only", action="store_true", help="without ffmpeg and streamlink: every segment is expected")
    parser.add_argument("--short", action="store_true", help="every third situation")
    parser.add_argument("--batch", type=int, default=20, help="situations at a time")
    parser.add_argument("--keep", metavar="DIRECTORY", help="copies files and logs of failed situations there")
    parser.add_argument("names", nargs="*")
    return parser.parse_args()


def record(batch, base, media, others, keep):
    """Lets each program record each situation of the batch; yields (situation, {program: Result})."""
    base.mkdir(parents=True)
    kinds = [Recorder, *others]
    origins = [[Origin(situation, media) for situation in batch] for _ in kinds]
    running = [kind(base, batch, [origin.address for origin in own]) for kind, own in zip(kinds, origins)]
    time.sleep(SECONDS)
    for one in running:
        one.stop()
    for own in origins:
        for origin in own:
            origin.close()
    with ThreadPoolExecutor(2) as pool:
        for index, situation in enumerate(batch):
            sent = media.sent({"packed": "packed", "fmp4": "fmp4"}.get(situation.form, "ts"))
            results = pool.map(lambda one: Result(one.files(index), sent), running)
            yield situation, {kind.name: result for kind, result in zip(kinds, results)}, sent
    if keep:
        subprocess.run(["cp", "-r", base, keep], check=True)


class Result:
    """What one program kept of a situation."""

    def __init__(self, files, sent):
        self.files = [file for file in files if file.stat().st_size]
        found = [digest for file in self.files for digest, _ in packets(file)]
        self.kept = {digest: sent[digest] for digest in found if digest in sent}
        known = [digest for digest in found if digest in sent]
        self.twice = len(known) - len(self.kept)
        self.errors = sum(decoding_errors(file) for file in self.files)
        self.first = min((segment for segment, _ in self.kept.values()), default=None)

    def count(self, kind, first):
        return sum(1 for segment, its in self.kept.values() if its == kind and segment >= first)


def report(situation, results, sent):
    """Prints a line; returns what is wrong with the recorder's result."""
    ours, *others = results.values()
    first = max((result.first for result in results.values() if result.first is not None), default=0)
    cells, failures = [], []
    for result in results.values():
        count = f"{result.count('video', first)}+{result.count('audio', first)}"
        cells.append(f"{count:>9} ({result.twice:3}) {len(result.files):2} files {result.errors:3} errors".ljust(34))
    for kind in ("video", "audio"):
        best = max((other.count(kind, first) for other in others), default=0)
        if not others:
            best = sum(1 for segment, its in sent.values() if its == kind and segment in situation.expected())
        if ours.count(kind, first) < best:
            failures.append(f"{situation.name}: {ours.count(kind, first)} {kind} packets, of {best}")
    if ours.twice:
        failures.append(f"{situation.name}: {ours.twice} packets twice")
    with_media = [other.errors for other in others if other.kept]
    if ours.errors > min(with_media, default=0):
        failures.append(f"{situation.name}: {ours.errors} decoding errors")
    print(f"{situation.name:40} {' '.join(cells)} {'FAILED' if failures else ''}", flush=True)
    return failures


class Recorder:
    """One recorder for all situations of the batch."""

    name = "recorder"

    def __init__(self, base, batch, addresses):
        self.directory = base / "recordings"
        self.names = [f"s{index}" for index in range(len(batch))]
        config = base / "recorder.json5"
        streams = [{"name": name, "source": {"type": "hls", "url": url}} for name, url in zip(self.names, addresses)]
        config.write_text(json.dumps({
            "recordings_dir": str(self.directory),
            "telemetry_dir": str(base / "telemetry"),
            "web": {"listen_address": "127.0.0.1:0"},
            "streams": streams,
        }))
        (base / "telemetry").mkdir()
        log = open(base / "recorder.log", "wb")
        self.process = subprocess.Popen([program("recorder"), "--config", config], stdout=log, stderr=log)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(90) != 0:
            print("gauntlet: the recorder did not end with 0", file=sys.stderr)

    def files(self, index):
        return sorted(file for file in self.directory.glob(f"{self.names[index]}-2*") if file.suffix != ".json")


class Other:
    """A process of its own for each situation."""

    def __init__(self, base, batch, addresses):
        self.directory = base / self.name
        self.directory.mkdir()
        self.outputs = [self.directory / f"{index}{one.suffix}" for index, one in enumerate(batch)]
        self.processes = [
            subprocess.Popen(self.command(url, output), stdout=subprocess.DEVNULL, stderr=open(f"{output}.log", "wb"))
            for url, output in zip(addresses, self.outputs)
        ]

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def files(self, index):
        return [self.outputs[index]] if self.outputs[index].exists() else []


class FFmpeg(Other):
    name = "ffmpeg"

    @staticmethod
    def command(url, output):
        options = ["-v", "warning", "-nostdin", "-y", "-allowed_extensions", "ALL", "-live_start_index", "0"]
        return ["ffmpeg", *options, "-i", url, "-map", "0", "-c", "copy", output]


class Streamlink(Other):
    name = "streamlink"

    @staticmethod
    def command(url, output):
        return ["streamlink", "--loglevel", "warning", "--hls-live-restart", "-f", "-o", output, f"hls://{url}", "best"]


main()
