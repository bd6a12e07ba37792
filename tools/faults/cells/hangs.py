"""A disk that hangs, and a program that hears no signal."""

import os
import signal

from bench import check_files_and_rows, decodes
from cell import cell, ended_in_time, expect, heal
from harness import wait_for
from storm.gate import Gate


@cell("fsync hangs 60 s", "shutdown: recordings", in_sample=True)
def hanging_finalize(bench):
    recorder = bench.start([bench.stream("one"), bench.stream("two")])
    path, _ = sorted(recorder.recording(2))
    with bench.fault(recorder, path, "fsync", "delay_enter=60000000"):
        ended = recorder.stop()
    ended_in_time(ended, 1)
    assert "❌ Error finalizing recording: timeout" in recorder.log
    assert "✅ Database connections closed" in recorder.log
    expect(bench.metrics(), finalize_errors_total__timeout=1, shutdown_phases_total__recordings__timeout=1,
           shutdown_phases_total__database__ok=1, shutdowns_total__degraded=1, recordings_finished_total__abandoned=1)
    assert bench.rows("SELECT count(*) FROM recordings WHERE status = 'abandoned'") == [(1,)]
    assert decodes(path) > 0
    heal(bench)
    return "phase left behind, `abandoned` for timeout, database closed, exit 1; next start publishes"


def is_locked(path):
    """Whether a process holds a lock on the file, by the kernel's list: trying would take it away from the recorder."""
    inode = os.stat(path).st_ino
    return any(line.split()[5].endswith(f":{inode}") for line in open("/proc/locks"))


@cell("fsync hangs 60 s", "recovery", in_sample=True)
def hanging_recovery(bench):
    recorder = bench.start([bench.stream("one")])
    [path] = recorder.recording()
    recorder.send(signal.SIGKILL)
    recorder.end()
    wrapper = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-P", path, "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=60000000"]
    recorder = bench.start([], wrapper)
    wait_for("the recovery of the file", lambda: is_locked(path))
    ended = recorder.stop()
    ended_in_time(ended, 0)
    expect(bench.metrics(), shutdown_phases_total__cleanup__timeout=1, shutdowns_total__degraded=1)
    assert decodes(path) > 0
    heal(bench)
    return "SIGTERM heeded at once, cleanup phase left behind, exit 0; next start publishes"


@cell("fsync hangs 60 s", "recovery, then recording")
def recording_beside_recovery(bench):
    recorder = bench.start([bench.stream("one")])
    [path] = recorder.recording()
    recorder.send(signal.SIGKILL)
    recorder.end()
    wrapper = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-P", path, "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=60000000"]
    recorder = bench.start([bench.stream("two")], wrapper)
    recorder.line("recording begins beside it")
    recorder.recording()
    ended_in_time(recorder.stop(), 0)
    heal(bench)
    return "after 5 s recording begins all the same, its file is whole; next start publishes the other"


@cell("log file takes no line", "shutdown", in_sample=True)
def hanging_log(bench):
    gate = Gate(bench.base / "gate")
    recorder = bench.start([bench.stream("one")], log={"file": str(gate.path)})
    recorder.recording()
    gate.narrow(1)
    ended_in_time(recorder.stop(), 0)
    expect(bench.metrics(), shutdowns_total__clean=1, recordings_finished_total__interrupted=1)
    assert all(decodes(path) > 0 for path in bench.files(".ts"))
    gate.close()
    return "holds up nothing: file whole, clean, exit 0"


@cell("program ignores SIGINT and SIGTERM", "shutdown: recordings", in_sample=True)
def deaf_program(bench):
    recorder = bench.start([bench.stream("one", deaf=True)])
    recorder.recording()
    ended_in_time(recorder.stop(), 0)
    expect(bench.metrics(), shutdowns_total__clean=1)
    check_files_and_rows(bench)
    return "killed in stages, file whole, clean, exit 0"


@cell("program ignores SIGINT and SIGTERM, and a second signal comes", "shutdown: recordings", in_sample=True)
def deaf_program_in_a_hurry(bench):
    """The process takes long to go, so that threads that it leaves behind could do more."""
    wrapper = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=exit_group",
               "-e", "inject=exit_group:delay_enter=500000"]
    recorder = bench.start([bench.stream("one", deaf=True)], wrapper)
    recorder.recording()
    recorder.send(signal.SIGTERM)
    recorder.line("📁 Finalizing recording files")
    recorder.process.send_signal(signal.SIGINT)
    ended_in_time(recorder.end(), 1)
    expect(bench.metrics(), finalize_errors_total__timeout=1, shutdown_phases_total__recordings__timeout=1,
           shutdowns_total__degraded=1, recordings_finished_total=1, recordings_finished_total__abandoned=1)
    heal(bench)
    return "left behind, `abandoned` for timeout, database closed, exit 1; next start publishes"
