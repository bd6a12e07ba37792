"""The files of a run against what its sources have delivered, and against what became of them."""

from collections import Counter

from faults.bench import decodes
from harness import PACKET_BYTES

from .pod import SYNC_INTERVAL
from .sources import HLS_STREAM
from .story import LEFT_BEHIND, Recording


class FilesLeft:
    """What a run has left at its end, before anything is started again."""

    def __init__(self, pod, run, recordings):
        self.finished = self.untold = self.failed = 0
        self.troubles = []
        was_killed = run.process.returncode < 0
        for one in recordings:
            is_finished = not (pod.recordings / name_of(one.path)).exists()
            self.finished += is_finished
            # The file of a recorder that was killed may have been finished before that was said; others after the final values.
            is_untold = was_killed or one.counted_end != one.end
            self.untold += is_finished and is_untold and not one.early_result
            self.failed += is_finished and one.early_result == "failed"
            word = Recording.ENDS.get(one.end)
            if word and (word == "whole") != is_finished:
                self.troubles.append(f"{one.path} is {'' if is_finished else 'not '}finished, the log says {one.end}")

    def add(self, other):
        self.finished += other.finished
        self.untold += other.untold
        self.failed += other.failed

    def agrees_with(self, counts):
        """Whether as many files are finished as recordings ended with a whole one."""
        told = counts[("recordings", "interrupted")] + counts[("recordings", "completed")]
        return 0 <= self.finished - self.failed - told <= self.untold


def name_of(path):
    return path.rsplit("/", 1)[-1]


class Footage:
    """The files of a run, once the run after it has taken up what was left."""

    def __init__(self, pod, run, story):
        self.pod, self.run = pod, run
        self.recordings = story.recordings()
        self.troubles = []

    def file(self, path):
        """Where a recording is now: finished, not finished, or nowhere."""
        name = name_of(path).removesuffix(".part")
        return next((one for one in (self.pod.recordings / name, self.pod.recordings / f"{name}.part") if one.exists()), None)

    def check(self, ended_at):
        """Seconds of footage that are missing, of the stream that misses most."""
        missing = max(self.missing_of_program(stream) for stream in self.run.delivered)
        # Only who was killed, or left a recording behind, may miss any.
        is_excused = self.run.process.returncode < 0 or any(one.end == LEFT_BEHIND for one in self.recordings)
        if missing > (SYNC_INTERVAL if is_excused else 0):
            self.troubles.append(f"{missing:.2f} s of footage missing")
        return max(missing, self.missing_of_hls(ended_at))

    def content(self, stream):
        files = [self.file(one.path) for one in self.recordings if one.stream == stream]
        return b"".join(file.read_bytes() for file in files if file)

    def missing_of_program(self, stream):
        """What the pipe had taken must be there, byte for byte and from the beginning."""
        content, sample = self.content(stream), self.pod.storm.sample
        if not sample.starts_with(content):
            self.troubles.append(f"{stream}: not what was delivered")
        missing = self.run.delivered[stream] - len(content)
        return 0 if missing < PACKET_BYTES else missing / sample.rate

    def missing_of_hls(self, ended_at):
        """Segments that had been sent long enough before the end must be there, one after the other."""
        origin, content = self.pod.storm.origin, self.content(HLS_STREAM)
        due = origin.delivered(self.run.viewer, ended_at - SYNC_INTERVAL)
        place = 0
        for number in due:
            segment = origin.segment(number)
            if not content.startswith(segment, place):
                self.troubles.append(f"{HLS_STREAM}: segment {number} is missing or not what was delivered")
                return len(due) - due.index(number)
            place += len(segment)
        return 0


def recovered(before, pod):
    """What became of the files that an earlier run had left: {(what, result): count}."""
    results = Counter()
    now = {path.stat().st_ino: path for path in pod.files(".ts")}
    for name, file in before.items():
        if is_there(pod.recordings / name, file):
            continue
        if file.st_ino not in now:
            results[("recovered", "discarded")] += 1
        else:
            is_whole = now[file.st_ino].stat().st_size == file.st_size
            results[("recovered", "published" if is_whole else "truncated")] += 1
    return results


def is_there(path, file):
    return path.exists() and path.stat().st_ino == file.st_ino


def does_decode(path, rate):
    """Decodes a file with at least a second of media, which has a whole picture in it."""
    if path.stat().st_size < 1.5 * rate:
        return True
    try:
        return decodes(path) > 0
    except (AssertionError, ValueError):
        return False
