"""Every system call of the exporter's server made to fail: it lives on, leaks nothing, and the next scrape is whole."""

import contextlib
import json
import pathlib
import shutil
import signal
import subprocess
import time

from bench import Bench
from harness import descriptors, wait_for
from exporter import Exporter, next_answer, request, scrape
from exporter_faults import FOUND, cells_of, target_name  # noqa: F401
from strace import NotMade, calls

MARKS = [("Exporter started", "serving")]
UP = 'streamvault_recorder_up{recorder="cam"}'
RECORDING = 'streamvault_recorder_state{recorder="cam",streamvault_recorder_state="recording"}'
READ_ERRORS = "streamvault_exporter_segment_read_errors_total"
LEAVING = 15
# Pages that no kernel holds at once.
MANY = 100
# More than a fault that lasts is met while clients wait in vain, unless the exporter spins.
MOST_MEETINGS = 500


class House:
    """Two segments for exporters: of a recorder that lives, and of one that has ended."""

    def __init__(self, base, sample):
        self.base = pathlib.Path(base) / "exporters"
        self.ended, self.living = (Bench(pathlib.Path(base) / name, sample) for name in ("ended", "living"))
        recorder = self.ended.start([])
        assert recorder.stop()[0] == 0
        self.living.start([])
        with self.exporter("first") as exporter:
            wait_for("the recorder", lambda: value(exporter.visit()["/metrics"][1], RECORDING) == 1)
            self.series = series(exporter.visit()["/metrics"][1])

    def exporter(self, name, wrapper=(), is_over=False, is_mute=False):
        segment = (self.ended if is_over else self.living).telemetry / "cam.telemetry"
        exporter = Exporter(segment, self.base / name, wrapper, is_mute)
        while not wrapper and "Address already in use" in exporter.log:  # Somebody else has taken the port meanwhile.
            exporter = Exporter(segment, self.base / name)
        return exporter

    def close(self):
        for bench in (self.ended, self.living):
            bench.close()

    def check(self, answers, is_over=False):
        """Everything is answered, and the page has all of its series."""
        assert None not in answers.values(), answers
        (status, page), (health, report) = answers["/metrics"], answers["/health"]
        assert status == 200 and self.series <= series(page), sorted(self.series - series(page))
        assert value(page, UP) == (0 if is_over else 1) and health == 200, report
        assert all(reply and reply.get("ok") for reply in answers["ingest"]), answers["ingest"]


def enumerate_cells(house):
    """Starts, serves and leaves once without a fault; every call is a cell for each error."""
    trace = house.base / "trace"
    with house.exporter("dry", ["strace", "-D", "-f", "-yy", "-s", "160", "-o", str(trace)]) as exporter:
        cells = cells_of(exporter, calls(trace, MARKS, since="SIGPIPE"), "start")
    with house.exporter("dry-too", is_over=True) as exporter:
        exporter.visit()
        with exporter.traced(trace):
            exporter.visit()
        cells += cells_of(exporter, calls(trace), "serving")
        exporter.publish()
        with exporter.traced(trace):
            leave(exporter)
        return cells + cells_of(exporter, calls(trace), "leaving")


def run_cell(house, cell, number):
    name = f"cell-{number}"
    if cell.error == "short":
        return check_short(house, cell, name)
    check = {"start": check_start, "serving": check_serving, "leaving": check_leaving}[cell.call.stage]
    try:
        return check(house, cell, name)
    finally:
        shutil.rmtree(house.base / name, ignore_errors=True)


def check_start(house, cell, name):
    """It starts and serves, or says in one line why not; the next start is none the worse."""
    trace = house.base / f"{name}.trace"
    command = ["strace", "-D", "-f", "--quiet=attach,exit,path-resolution", "-o", trace, *cell.strace(house.base / name)]
    with house.exporter(name, command, is_mute=cell.target == "standard output") as exporter:
        if has_started := exporter.has_started:
            house.check(exporter.visit())
        else:
            lines = exporter.log.splitlines()
            assert exporter.process.wait() == 1 and len(lines) == 1 and lines[0].startswith("streamvault-exporter: "), lines
        met(trace)
    with house.exporter(name) as exporter:
        house.check(exporter.visit())
    return "nothing" if has_started else "start refused"


def met(trace):
    """How often the fault was met."""
    count = trace.read_text(errors="replace").count("(INJECTED)")
    if count == 0:
        raise NotMade(trace)
    return count


def check_short(house, cell, name):
    """A client sends a request byte by byte, then so many that no kernel holds the answers before it reads."""
    trace = house.base / f"{name}.trace"
    with house.exporter(name) as exporter, exporter.traced(trace, "-e", f"trace={cell.call.name}"):
        with exporter.connect_narrowly() as client:
            for byte in request("/metrics"):
                client.sendall(bytes([byte]))
                time.sleep(0.002)  # So that most arrive alone.
            client.sendall(request("/metrics") * (MANY - 1))
            data = b""
            for _ in range(MANY):
                (status, page), data = next_answer(client, data)
                assert status == 200 and house.series <= series(page), sorted(house.series - series(page))
    made = [call for call in calls(trace) if target_name(exporter, call.target) == cell.target]
    at_once = MANY if cell.call.name == "sendmsg" else len(request("/metrics")) // 10
    assert len(made) > at_once, f"only {len(made)} calls: none was short"
    return "nothing"


def check_serving(house, cell, name):
    """It lives on; what it answers meanwhile is whole; afterwards all is as before, and no descriptor is left open."""
    trace = house.base / f"{name}.trace"
    with house.exporter(name) as exporter:
        house.check(exporter.visit())
        open_before = settled(exporter)
        with exporter.traced(trace, *cell.strace(exporter.base)):
            answers = exporter.visit(may_hang=cell.when == "on" or cell.target == "ingest connection")
        count = met(trace)
        assert exporter.process.poll() is None, f"ended with {exporter.process.returncode}:\n{exporter.log}"
        assert count < MOST_MEETINGS, f"met {count} times: it spins"
        cost = cost_of(house, answers)
        house.check(exporter.visit())
        if cell.call.name != "close":  # The tracer keeps the kernel from closing it.
            # A page that a client has not taken is given up after 10 s.
            wait_for("no descriptor more than before", lambda: descriptors(exporter.pid) <= open_before, 15)
        return cost


def settled(exporter):
    """The open descriptors, once the connections of the clients are closed."""
    counts = [0]

    def is_settled():
        counts.append(descriptors(exporter.pid))
        time.sleep(0.05)
        return counts[-1] == counts[-2]

    wait_for("the end of the connections", is_settled)
    return counts[-1]


def cost_of(house, answers):
    """What the clients miss; what they get is right."""
    words = []
    if answers["/metrics"] is None:
        words.append("scrape lost")
    else:
        status, page = answers["/metrics"]
        assert status == 200 and house.series <= series(page), (status, sorted(house.series - series(page)))
        if value(page, UP) != 1:
            errors = [line for line in page.splitlines() if line.startswith(READ_ERRORS) and not line.endswith(" 0")]
            assert errors, "not up, and nothing counted"
            words.append("up 0, counted")
    if answers["/health"] is None:
        words.append("probe lost")
    else:
        # The process whose connection is lost counts as dead; a recorder of whom nothing is known does not.
        recorders = {one["recorder"]: one["status"] for one in json.loads(answers["/health"][1])["recorders"]}
        assert recorders["cam"] in ("pass", "warn"), answers["/health"]
    replies = answers["ingest"]
    if None in replies:
        words.append("ingest connection lost")
    elif not all(reply.get("ok") for reply in replies):
        words.append("run refused: " + next(reply["reason"] for reply in replies if not reply.get("ok")))
    return ", ".join(words) or "nothing"


def check_leaving(house, cell, name):
    """It leaves in time, with status 0, and its socket's path is free for the next."""
    trace = house.base / f"{name}.trace"
    with house.exporter(name, is_over=True) as exporter:
        exporter.visit()
        exporter.publish()
        with exporter.traced(trace, *cell.strace(exporter.base)):
            assert leave(exporter) == 0, exporter.log
        met(trace)
        log = exporter.log
    with house.exporter(name) as exporter:
        house.check(exporter.visit(), is_over=True)
    return "nothing" if 'reason="final state collected"' in log else "final state not collected"


def leave(exporter):
    """Tells it to leave, and scrapes until it has left; the exit status, or `None` when it has not in time."""
    end = time.monotonic() + LEAVING
    exporter.process.send_signal(signal.SIGTERM)
    with contextlib.suppress(AssertionError):  # A fault may cost that line.
        wait_for("its wait", lambda: "Waiting for the final state" in exporter.log or exporter.process.poll() is not None, 2)
    while exporter.process.poll() is None and time.monotonic() < end:
        exporter.ask(exporter.connect, lambda client: scrape(client, "/metrics"), may_hang=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            exporter.process.wait(1)
    return exporter.process.poll()


def series(page):
    """The names and labels of all series but those of the process at the ingest socket, which comes and goes."""
    names = (line.rsplit(" ", 1)[0] for line in page.splitlines() if not line.startswith("#"))
    return {name for name in names if 'recorder="proc"' not in name}


def value(page, name):
    return next(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name + " "))
