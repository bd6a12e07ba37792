"""A lane: pods that come and go at one address, in which one round follows the other."""

import contextlib
import random
import shutil
import signal
import time
import traceback
from collections import Counter
from functools import partial

from faults.bench import check_rows
from harness import free_port, wait_for

from .book import Book
from .endings import ENDINGS
from .exporters import COURSES, Departure
from .final_values import missed_at_the_end, missed_by_the_next
from .footage import FilesLeft, Footage, does_decode, recovered
from .pod import PATIENCE, Pod
from .round import Round
from .starts import CutStart
from .story import Story, ranges
from .truth import Truth, so_far

HISTORY = 32  # Runs that a segment remembers.


class Lane:
    def __init__(self, storm, number, choices):
        self.storm, self.number, self.choices = storm, number, choices
        self.address = f"127.0.0.1:{free_port()}"
        self.pods = 0
        self.pod = self.ending = None
        self.pending = None  # The round whose run is over, and whose book is open.

    def go(self):
        with contextlib.suppress(InterruptedError):
            for choice in self.choices:
                current = Round(self.storm, choice)
                self.storm.rounds.append(current)
                self.attempt(current.add_trouble, self.play, current)
            self.attempt(partial(self.storm.tell, f"lane {self.number}, at its end"), self.end_pod)

    def attempt(self, complain, action, *arguments):
        try:
            action(*arguments)
        except Exception:  # Of any kind: it is told, and the others go on.
            complain(traceback.format_exc())
            self.give_up()

    def play(self, current):
        choice, chance = current.choice, random.Random(current.choice.seed)
        pod = self.pod = self.pod or self.new_pod()
        self.rounds.append(current)
        course = current.course = COURSES[choice.exporter](pod, chance)
        ending = ENDINGS[choice.ending](pod, chance, course)
        self.ending = ending
        try:
            run = self.start(choice, ending, chance)
            self.wait_for_moment(choice)
            course.before()
            ending.end(run)
            run.note_deliveries()
        finally:
            ending.close()
            self.ending = None
        self.note_end(current, run, ending)
        course.after()
        if course.leaves:
            self.leave(current, course.told)
        if choice.is_last_of_pod:
            self.end_pod()

    def new_pod(self):
        self.pods += 1
        name = f"{self.number}-{self.pods}"
        with self.storm.going_on():
            pod = Pod(self.storm.folder / f"pod-{name}", name, self.address, self.storm)
        self.book = Book(self.storm.servers, self.address, pod.created_at)
        self.history, self.rounds = [], []
        return pod

    def start(self, choice, ending, chance):
        """Starts what does not run, closes the book of the round before, and waits until all is recorded and seen."""
        pod = self.pod
        if choice.exporter_starts_first:
            pod.ensure_exporter()
        for number in choice.cut_starts if self.pending else []:
            self.cut_a_start(self.pending, CutStart(pod, signal.Signals[number], chance))
        left = pod.parts()
        wrapper = ending.prepare()
        run = pod.start_recorder(ending.grace, ending.deaf, wrapper, **ending.fields)
        run.await_recording()
        pod.ensure_exporter()
        run.recovered = recovered(left, pod)
        self.close_book(run)
        return run

    def cut_a_start(self, current, start):
        """A start that was cut short is counted with the round before it."""
        current.cut_starts.append(start)
        current.left.add(start.left)
        current.add_trouble(*start.left.troubles)
        if start.has_own_segment:
            current.truth.follow(start.truth, start.alternatives)
            self.history.append(start.truth.verdicts)
        self.note_last_word(current)

    def close_book(self, run):
        """Waits until Prometheus has seen the run, as long as nothing happens meanwhile; settles the one before."""
        running, until_now = None, None
        while running is None or running != so_far(Story(run.log), run.recovered):
            running = so_far(Story(run.log), run.recovered)
            until_now = self.storm.watch.await_samples(self.address, time.time())
        self.book.read(until_now + 0.001)
        if self.pending:
            self.settle(running)
            if not self.pending.departure:
                self.check_final_values(self.pending, missed_by_the_next)
            self.check_footage(self.pending)
            self.pending = None

    def settle(self, running=Counter()):
        current = self.pending
        current.entry = self.book.close(current.truth, running)
        if not current.entry.is_exact:
            current.add_trouble(current.entry.difference())
        elif not current.left.agrees_with(current.entry.taken):
            current.add_trouble(f"{current.left.finished} files finished, not as recordings were counted")
        if falls := sum(page.falls for page in self.book.pages):
            current.add_trouble(f"counters fell {falls} times")

    def wait_for_moment(self, choice):
        time.sleep(choice.footage)
        ahead = {"just before a scrape": 0.04, "just after a scrape": -0.04}.get(choice.moment)
        if ahead:
            time.sleep(self.storm.watch.until_scrape(self.address, ahead))

    def note_end(self, current, run, ending):
        current.run = run
        story = Story(run.log)
        self.storm.ranges = self.storm.ranges or ranges(run.log)
        current.truth = Truth(run, story, run.recovered, ending.is_pinned, ending.last_author)
        current.left = FilesLeft(self.pod, run, story.recordings())
        current.add_trouble(*current.left.troubles)
        self.pending = current
        if not current.truth.outcomes & ending.outcomes:
            current.add_trouble(f"{current.truth.verdicts}, where the fault demands {ending.outcomes}")
        self.history.append(current.truth.verdicts)
        self.note_last_word(current)

    def note_last_word(self, current):
        current.last_word, history = self.pod.last_word()
        remembered = self.history[-HISTORY:]
        if len(history) != len(remembered) or not all(one in may for one, may in zip(history, remembered)):
            current.add_trouble(f"history is {history}, not {remembered}")

    def leave(self, current, told):
        """The exporter has been stopped: both Prometheus servers must have every series of the final state."""
        current.departure = Departure(self.pod, told)
        if current.departure.trouble:
            current.add_trouble(current.departure.trouble)
        self.check_final_values(current, missed_at_the_end)

    def check_final_values(self, current, missed_in):
        missed = sum(missed_in(one, self.address, current.last_word) for one in self.storm.servers)
        current.note_final_values(self.storm.servers, missed)

    def end_pod(self):
        """Ends the pod for good: its exporter leaves, its books are closed, its files are made whole and looked at."""
        if not self.pod or not self.pod.runs:
            return
        pod, last = self.pod, self.pending
        if not last.departure:
            pod.ensure_exporter()
            wait_for("scrapers", lambda: "streamvault_exporter_scrapers 2\n" in pod.answer("/metrics"), PATIENCE)
            told = time.time()
            pod.exporter.process.terminate()
            self.leave(last, told)
        self.book.read(time.time())
        self.settle()
        self.heal()
        self.check_footage(last)
        self.pending = None
        self.check_files(last)
        if any(one.troubles for one in self.rounds):
            self.storm.keep(pod)
        self.pod = None
        pod.close()
        shutil.rmtree(pod.base)

    def heal(self):
        """The next start makes everything good; it is not of this pod, and tells its telemetry to nobody."""
        pod = self.pod
        pod.telemetry = pod.base / "elsewhere"
        pod.telemetry.mkdir()
        pod.configure([], "8s")
        recorder = pod.start()
        wait_for("the recovery", lambda: not pod.files(".part") and (recorder.active() or recorder.is_ready), PATIENCE)
        assert recorder.stop()[0] == 0, recorder.log

    def check_footage(self, current):
        run = current.run
        footage = Footage(self.pod, run, Story(run.log))
        current.missing_footage = footage.check(run.cut_at or run.signalled_at or run.exited_at)
        current.add_trouble(*footage.troubles)

    def check_files(self, last):
        check_rows(self.pod)
        for path in self.pod.files(".ts"):
            last.files += 1
            if not does_decode(path, self.storm.sample.rate):
                last.undecodable += 1
                last.add_trouble(f"{path.name} does not decode")

    def give_up(self):
        """Keeps the logs of a pod in which something went wrong, and goes on with another one."""
        pod, self.pod, self.pending = self.pod, None, None
        if pod:
            self.storm.keep(pod)
            pod.close()
            shutil.rmtree(pod.base)

    def clear_away(self):
        """Leaves nothing behind when the storm ends before it is over."""
        for one in (self.ending, self.pod):
            if one:
                with contextlib.suppress(OSError):
                    one.close()
