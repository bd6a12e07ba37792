"""Signals while recording, and in each phase of a shutdown: it is held there, as each line that it logs takes long."""

import contextlib
import pathlib
import signal
import subprocess

from bench import check_files_and_rows, decodes
from harness import status_field, wait_for
from cell import cell, ended_in_time, expect, heal

PHASES = {
    "signal": "🛑 Starting application shutdown",
    "recordings": "📁 Finalizing recording files",
    "broadcaster": "🔄 Stopping active recordings broadcaster",
    "cleanup": "🔄 Cancelling cleanup task",
    "eventsub": "🔄 Stopping EventSub",
    "database": "🔄 Closing database connections",
}


@contextlib.contextmanager
def slow_main_thread(bench, recorder):
    """Delays the main thread's writes: with each line that it logs it wakes the threads of the log through a pipe."""
    number = recorder.process.pid
    tracer = subprocess.Popen(
        ["strace", "--quiet=attach", "-o", "/dev/null", "-e", "trace=write", "-e", "inject=write:delay_enter=75000",
         "-p", str(number)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    bench.programs.append(tracer)
    wait_for("strace of the main thread", lambda: status_field(number, "TracerPid", number) == str(tracer.pid))
    yield
    tracer.kill()
    tracer.wait()


def signal_in_phase(bench, phase, number):
    recorder = bench.start([bench.stream("one"), bench.stream("two")])
    paths = recorder.recording(2)
    with slow_main_thread(bench, recorder):
        recorder.send(signal.SIGTERM)
        recorder.line(PHASES[phase])
        recorder.process.send_signal(number)
        ended = recorder.end()
    for path in paths + bench.files(".ts"):
        if pathlib.Path(path).exists():
            assert decodes(path) > 0
    if number == signal.SIGKILL:
        assert ended[0] == -signal.SIGKILL
        expect(bench.metrics(), shutdowns_total__killed=1, **{f"shutdown_phases_total__{phase}__killed": 1})
        heal(bench)
        expect(bench.metrics(), shutdowns_total__killed=1, shutdowns_total__clean=1)
        return f"`killed` in {phase}; files play; next start heals"
    ended_in_time(ended, 0)
    expect(bench.metrics(), shutdowns_total__clean=1, recordings_finished_total__interrupted=2)
    check_files_and_rows(bench)
    assert number != signal.SIGUSR1 or "Second signal" not in recorder.log, recorder.log
    return "hurries, files whole, exit 0" if number != signal.SIGUSR1 else "nothing more to drain: goes on, files whole, exit 0"


for phase in PHASES:
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        in_sample = (phase, number) in {("cleanup", signal.SIGKILL), ("database", signal.SIGKILL)}
        cell(number.name, f"shutdown: {phase}", in_sample)(
            lambda bench, phase=phase, number=number: signal_in_phase(bench, phase, number))


def signal_while_recording(bench, number):
    recorder = bench.start([bench.stream("one"), bench.stream("two")])
    paths = recorder.recording(2)
    ended = recorder.stop(number)
    if number == signal.SIGKILL:
        expect(bench.metrics(), crashes_total=1, recordings_finished_total__abandoned=2)
        assert all(decodes(path) > 0 for path in paths)
        recorder = bench.start([bench.stream("one"), bench.stream("two")])
        assert all("_part002" in path for path in recorder.recording(2)), "taken up as the next part"
        expect(bench.metrics(), recovered_recordings_total=2)
        ended_in_time(recorder.stop(), 0)
        check_files_and_rows(bench)
        assert bench.rows("SELECT count(*) FROM recordings") == [(2,)]
        return "`crashed`, files play; next start publishes them and goes on as part 2"
    ended_in_time(ended, 0)
    expect(bench.metrics(), shutdowns_total__clean=1, recordings_finished_total__interrupted=2)
    check_files_and_rows(bench)
    recorder = bench.start()
    assert all("_part002" in path for path in recorder.recording(2)), "taken up as the next part"
    ended_in_time(recorder.stop(), 0)
    check_files_and_rows(bench)
    assert bench.rows("SELECT count(*) FROM recordings") == [(2,)]
    return "`interrupted`, files whole, exit 0; next start goes on as part 2"


for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
    cell(number.name, "recording", number == signal.SIGTERM)(
        lambda bench, number=number: signal_while_recording(bench, number))
