"""Starts that are cut short: a signal comes before the recorder is through with them."""

import itertools
import signal
import time
from collections import Counter

from .footage import FilesLeft, recovered
from .story import Story
from .truth import Truth

LONGEST = 0.5  # Seconds until the signal.


class CutStart:
    """A start that was cut short, and the ways in which it may be counted."""

    def __init__(self, pod, number, random):
        self.signal = number.name
        left, segment = pod.parts(), identity(pod.segment)
        run = pod.start_recorder("30s")
        time.sleep(random.uniform(0, LONGEST))
        run.tell(number)
        run.await_end()
        if number == signal.SIGKILL:
            run.signalled_at = None
        story = Story(run.log)
        # Every recorder that is started has a segment of its own.
        self.has_own_segment = identity(pod.segment) != segment
        said = {name: file for name, file in left.items() if story.says(f"{name} outcome=")}
        unsaid = {name: file for name, file in left.items() if name not in said}
        self.truth = Truth(run, story, recovered(said, pod), is_pinned=True) if self.has_own_segment else None
        self.left = FilesLeft(pod, run, story.recordings())
        self.doubts = unsaid_recordings(pod, story, left) + [[Counter(), recovered({name: file}, pod)] for name, file in unsaid.items()]

    @property
    def alternatives(self):
        if not self.has_own_segment:
            return [Counter()]
        ways = itertools.product(self.truth.alternatives, *self.doubts)
        return [sum(way, Counter()) for way in ways]


def unsaid_recordings(pod, story, left):
    """Files that were made, and perhaps published as recordings, before that was said."""
    said = {one.path.rsplit("/", 1)[-1] for one in story.recordings()}
    begun = Counter([("recordings started",), ("recordings", "abandoned")])
    return [[Counter(), begun] for name, file in pod.parts().items()
            if name not in said and (name not in left or left[name].st_ino != file.st_ino)]


def identity(path):
    return (path.stat().st_dev, path.stat().st_ino) if path.exists() else None
