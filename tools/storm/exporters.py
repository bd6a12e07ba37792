"""What happens to the exporter while the recorder ends."""

import signal
import time

from harness import await_exit

from .pod import PATIENCE, stamp

# Until then an exporter that was told to end waits for a recorder to begin to.
MOST_AHEAD = 3.0


class Course:
    """Nothing happens to it."""

    name = "goes on"
    leaves = False

    def __init__(self, pod, random):
        self.pod, self.random = pod, random
        self.told = None

    def before(self):
        """Right before the recorder is signalled."""

    def after_signal(self):
        """Right behind the first signal."""

    def in_the_middle(self):
        """While the recorder stops, or when it has."""

    def after(self):
        """When the recorder has ended."""

    def tell(self):
        self.told = time.time()
        self.pod.exporter.process.send_signal(signal.SIGTERM)


class EndsAfter(Course):
    """As a native sidecar."""

    name = "told to end after the recorder"
    leaves = True

    def after(self):
        self.tell()


class EndsTogether(Course):
    """As one of two plain containers."""

    name = "told to end with the recorder"
    leaves = True

    def after_signal(self):
        self.tell()


class EndsFirst(Course):
    name = "told to end before the recorder"
    leaves = True

    def before(self):
        self.tell()
        time.sleep(self.random.uniform(0, MOST_AHEAD))


class KilledBefore(Course):
    name = "killed before, back at once"

    def before(self):
        self.pod.kill_exporter()
        self.pod.ensure_exporter()


class AwayAllTheTime(Course):
    name = "killed before, back at the next start"

    def before(self):
        self.pod.kill_exporter()


class KilledInTheMiddle(Course):
    name = "killed in the middle, back at once"

    def in_the_middle(self):
        self.pod.kill_exporter()
        self.pod.ensure_exporter()


class AwayFromTheMiddle(Course):
    name = "killed in the middle, back at the next start"

    def in_the_middle(self):
        self.pod.kill_exporter()


class KilledAfter(Course):
    name = "killed after, back at once"

    def after(self):
        self.pod.kill_exporter()
        self.pod.ensure_exporter()


class AwayAfter(Course):
    name = "killed after, back at the next start"

    def after(self):
        self.pod.kill_exporter()


class KilledWhileLeaving(Course):
    name = "killed while it leaves, back at the next start"

    def after(self):
        self.tell()
        time.sleep(self.random.uniform(0, 0.5))
        self.pod.kill_exporter()


COURSES = {one.name: one for one in [
    Course, EndsAfter, EndsTogether, EndsFirst, KilledBefore, AwayAllTheTime, KilledInTheMiddle, AwayFromTheMiddle,
    KilledAfter, AwayAfter, KilledWhileLeaving,
]}


class Departure:
    """How an exporter left that had been told to."""

    def __init__(self, pod, told):
        status = await_exit(pod.exporter.process, PATIENCE)
        left = time.time()
        lines = pod.exporter.log.splitlines()
        pod.exporter = None
        collected = [stamp(line) for line in lines if 'msg="Final state collected"' in line]
        self.seconds = left - told
        # Since the last one who was waited for had it.
        self.lag = left - max([told, *collected])
        has_all = 'reason="final state collected" collected=2 missed=0' in lines[-1]
        self.trouble = None if status == 0 and has_all else f"exporter left with {status}: {lines[-1]}"
