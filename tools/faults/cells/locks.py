"""Files that another program has locked."""

import contextlib
import fcntl
import time

from bench import check_files_and_rows, decodes
from harness import wait_for
from cell import cell, ended_in_time, expect, heal


@contextlib.contextmanager
def locked(path):
    with open(path, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


@cell("file locked", "shutdown: recordings", in_sample=True)
def locked_in_finalize(bench):
    recorder = bench.start([bench.stream("one"), bench.stream("two")])
    path, _ = sorted(recorder.recording(2))
    with locked(path):
        ended_in_time(recorder.stop(), 1)
        assert "❌ Error finalizing recording: file locked" in recorder.log
        expect(bench.metrics(), finalize_errors_total__file_locked=1, shutdowns_total__degraded=1,
               shutdown_phases_total__recordings__error=1)
        next_one = bench.start([])
        next_one.line("locked by another program")
        ended_in_time(next_one.stop(), 0)
        assert decodes(path) > 0
    heal(bench)
    return "`.part` kept, file_locked, exit 1; left alone while locked; then the next start publishes"


@cell("file locked", "cleanup (retention)")
def locked_in_retention(bench):
    recorder = bench.start([bench.stream("one"), bench.stream("two")])
    recorder.recording(2)
    ended_in_time(recorder.stop(), 0)
    path, other = bench.files(".ts")
    time.sleep(2.5)  # Ages are whole seconds.
    with locked(path):
        recorder = bench.start([], retention={"max_age": "1s"}, resume_within="0s")
        wait_for("the deletion", lambda: not other.exists())
        recorder.line("locked by another program")
        ended_in_time(recorder.stop(), 0)
        assert path.exists() and decodes(path) > 0
    check_files_and_rows(bench)
    assert bench.rows("SELECT status, deleted_because FROM parts ORDER BY path DESC") == [("deleted", "age"), ("finished", None)]
    return "the locked file stays, the other goes, and is marked in the catalogue"
