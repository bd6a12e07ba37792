"""What the recorder's own log says of a run: the only witness of where a killed one was."""

import re
from collections import Counter

from .pod import stamp

PHASES = ["signal", "recordings", "broadcaster", "cleanup", "eventsub", "database"]
REQUEST = "🛑 Starting application shutdown"
# The last words of a phase: behind them its end may be published, and its line not yet written.
LAST_WORDS = {
    "signal": [REQUEST],
    "recordings": ["✅ Recording service shutdown completed", "❌ Error during recording service shutdown"],
    "broadcaster": ["🔄 Stopping active recordings broadcaster"],
    "cleanup": ["🔄 Cancelling cleanup task"],
    "eventsub": ["🔄 Stopping EventSub"],
    "database": ["🎯 Application shutdown complete"],
}
# What a phase says when it did not go well, and its outcome then.
TROUBLES = {
    "recordings": {"❌ Error during recording service shutdown: timeout": "timeout",
                   "❌ Error during recording service shutdown": "error"},
    "broadcaster": {"❌ Error stopping broadcaster: timeout": "timeout", "❌ Error stopping broadcaster": "error"},
    "cleanup": {"❌ Error stopping cleanup: timeout": "timeout", "❌ Error stopping cleanup": "error"},
    "eventsub": {"❌ Error stopping eventsub: timeout": "timeout", "❌ Error stopping eventsub": "error"},
    "database": {"❌ Error disposing database engine: timeout": "timeout",
                 "❌ Error disposing database engine: connection pool exhausted": "timeout",
                 "❌ Error disposing database engine": "error"},
}
LEFT_BEHIND = "Recording left behind, for the next start"
REASONS = {
    "timeout": "timeout", "file locked": "file_locked", "no space left": "no_space", "permission denied": "permission",
    "input/output error": "io", "invalid media": "invalid_media", "unexpected error": "other",
}


class Story:
    def __init__(self, text):
        self.lines = text.splitlines()
        self.request = next((n for n, line in enumerate(self.lines) if REQUEST in line), None)
        ended = [line for line in self.lines if 'msg="Shutdown phase ended"' in line]
        # When each phase had ended at the latest.
        self.ended = {re.search(r"phase=(\w+)", line).group(1): stamp(line) for line in ended}

    def says(self, *words):
        return any(word in line for line in self.lines for word in words)

    def outcome(self, phase):
        troubles = TROUBLES.get(phase, {})
        return next((outcome for words, outcome in troubles.items() if self.says(words)), "ok")

    def finalize_errors(self):
        found = (re.search(r"❌ Error finalizing recording: (.*)", line) for line in self.lines)
        return Counter(REASONS[one.group(1)] for one in found if one)

    def last_finalized_at(self):
        stamps = [stamp(line) for line in self.lines if 'msg="Recording finalized"' in line]
        left_behind = [stamp(line) for line in self.lines if LEFT_BEHIND in line]
        return max(stamps + left_behind, default=None)

    def recordings(self):
        """All recordings of the run, in their order."""
        open_ones, failed, all_of_them = {}, set(), []
        final_values_published = False
        for number, line in enumerate(self.lines):
            final_values_published = final_values_published or "msg=Exiting" in line
            found = re.search(r'msg="([^"]+)".* stream=(\S+)', line)
            if not found:
                continue
            message, stream = found.groups()
            if message == "Recording started":
                one = open_ones[stream] = Recording(stream, re.search(r"path=(\S+)", line).group(1))
                failed.discard(stream)
                all_of_them.append(one)
            elif message == "Stream failed":
                failed.add(stream)
            elif stream in open_ones and message in Recording.ENDS:
                one = open_ones[stream]
                one.end, one.last_line = message, number
                if not final_values_published:
                    one.counted_end = message
                one.is_of_shutdown = self.request is not None and number > self.request
                one.has_failed = stream in failed
        return all_of_them


def ranges(log):
    """{phase: where its lines begin and end}, in bytes from the first line of a shutdown that was whole; nothing for another."""
    marks, place, begun = [0], 0, False
    for line in log.encode().splitlines(keepends=True):
        begun = begun or REQUEST.encode() in line
        if b'msg="Shutdown phase ended"' in line:
            marks.append(place)
        place += len(line) if begun else 0
    return dict(zip(PHASES, zip(marks, marks[1:]))) if len(marks) > len(PHASES) else {}


class Recording:
    ENDS = {
        "Recording finalized": "whole",
        "Recording not finalized, left for the next start": "failed",
        LEFT_BEHIND: "abandoned",
    }

    def __init__(self, stream, path):
        self.stream, self.path = stream, path
        self.end = None  # What the log says last of it, and in which line.
        # The same, until the final values were published: a command that ignores signals is killed after that, and its
        # recording, which counts as abandoned, is finalized.
        self.counted_end = None
        self.last_line = None
        self.is_of_shutdown = True
        self.has_failed = False

    @property
    def early_result(self):
        """How it ended before anything was shut down; nothing when it did not."""
        if self.end is None or self.is_of_shutdown:
            return None
        return "failed" if self.has_failed or self.ENDS[self.end] != "whole" else "completed"
