#!/usr/bin/env python3
"""Lets real faults meet a real recorder in each phase where they can, and checks what becomes of files, rows and numbers.

usage: matrix.py [--sample] [PART_OF_A_NAME]...     as root; needs strace and ffmpeg. Prints a table; exits with 1 on a surprise.
"""

import contextlib
import fcntl
import os
import pathlib
import signal
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from bench import Bench, check_files_and_rows, decodes, make_sample, run, until  # noqa: E402

GRACE = 8
CELLS = []


def cell(fault, phase, in_sample=False):
    def add(body):
        CELLS.append((fault, phase, in_sample, body))
        return body

    return add


def heal(bench, **fields):
    """The next start, without the fault, makes everything good."""
    recorder = bench.start([], **fields)
    until("the recovery", lambda: not bench.files(".part") and (recorder.active() or recorder.is_ready))
    assert recorder.stop()[0] == 0, recorder.log
    check_files_and_rows(bench)


def expect(metrics, **wanted):
    for name, value in wanted.items():
        name, _, label = name.partition("__")
        found = [number for series, number in metrics.items()
                 if series.split("{")[0] == name and all(f'"{part}"' in series for part in label.split("__") if part)]
        assert sum(found) == value, f"{name} {label}: {sum(found)}, not {value}"


def ended_in_time(ended, status):
    assert ended[0] == status, f"exit status {ended[0]}, not {status}"
    assert ended[1] < GRACE, f"took {ended[1]:.1f} s of {GRACE} s"


# --- Disks

@cell("disk full (8 MiB tmpfs)", "recording", in_sample=True)
def full_disk(bench):
    bench.mount(bench.recordings, "8m")
    disk = {"warn_below": "3MiB", "refuse_below": "2MiB", "reserve": "512KiB"}
    recorder = bench.start([bench.stream("one", rate=1_000_000)], disk=disk)
    recorder.line("Disk space is low")
    recorder.line("new recordings are refused")
    recorder.line("Reserve released")
    recorder.line("Recording finalized")
    metrics = until("a refusal", lambda: (m := bench.metrics())["recordings_refused_total{reason=\"no_space\"}"] > 0 and m)
    expect(metrics, recordings_finished_total__failed=1, recording_write_errors_total__no_space=1, disk_level__full=1,
           disk_reserve_bytes=0, finalize_errors_total=0)
    [whole] = bench.files(".ts")
    assert decodes(whole) > 1
    status, text = run("mount", "-o", "remount,size=64m", bench.recordings)
    assert status == 0, text
    recorder.line("Disk has room again")
    part_two = recorder.recording()[0]
    assert part_two.endswith("_part002.ts.part"), part_two
    until("the reserve", lambda: bench.metrics()["disk_reserve_bytes"] == 512 << 10)
    ended_in_time(recorder.stop(), 0)
    check_files_and_rows(bench)
    return "file whole, `failed` for no_space, new ones refused, reserve spent; with room again goes on as part 2"


@cell("disk full (ENOSPC of fsync)", "shutdown: recordings")
def no_space_in_finalize(bench):
    return failing_finalize(bench, "fsync", "ENOSPC", "no_space", "no space left")


@cell("EIO of write", "recording")
def failing_write(bench):
    recorder = bench.start([bench.stream("one")])
    [path] = recorder.recording()
    with bench.fault(recorder, path, "write", "error=EIO:when=1"):
        recorder.line("Stream failed")
    part_two = until("the next part", lambda: next((p for p in recorder.recording() if "_part002" in p), None))
    assert part_two
    expect(bench.metrics(), recordings_finished_total__failed=1, recording_write_errors_total__io=1)
    ended_in_time(recorder.stop(), 0)
    check_files_and_rows(bench)
    assert len(bench.files(".ts")) == 2 and bench.rows("SELECT count(*) FROM recordings") == [(1,)]
    return "part 1 whole as far as it went, recording goes on as part 2; clean stop"


@cell("EIO of fdatasync", "recording")
def failing_sync(bench):
    recorder = bench.start([bench.stream("one")])
    [path] = recorder.recording()
    with bench.fault(recorder, path, "fdatasync", "error=EIO:when=1"):
        recorder.line("❌ Error finalizing recording: input/output error")
    expect(bench.metrics(), recordings_finished_total__failed=1, finalize_errors_total__io=1)
    until("the next part", lambda: any("_part002" in p for p in recorder.recording()))
    ended_in_time(recorder.stop(), 0)
    assert decodes(path) >= 0
    heal(bench)
    return "`.part` kept, `failed` for io; recording goes on as part 2; next start publishes"


def failing_finalize(bench, calls, error, reason, words):
    recorder = bench.start([bench.stream("one"), bench.stream("two")])
    path, _ = sorted(recorder.recording(2))
    with bench.fault(recorder, path, calls, f"error={error}"):
        ended = recorder.stop()
    ended_in_time(ended, 1)
    assert f"❌ Error finalizing recording: {words}" in recorder.log
    assert "✅ Database connections closed" in recorder.log
    expect(bench.metrics(), **{f"finalize_errors_total__{reason}": 1}, shutdowns_total__degraded=1,
           shutdown_phases_total__recordings__error=1, shutdown_phases_total__database__ok=1,
           recordings_finished_total__failed=1, recordings_finished_total__interrupted=1)
    assert len(bench.files(".part")) == 1 and decodes(path) > 0
    heal(bench)
    return f"`.part` kept, `{reason}`, the other file whole, exit 1; next start publishes"


@cell("EIO of fsync", "shutdown: recordings", in_sample=True)
def io_in_finalize(bench):
    return failing_finalize(bench, "fsync", "EIO", "io", "input/output error")


@cell("EACCES of link", "shutdown: recordings")
def permission_in_finalize(bench):
    return failing_finalize(bench, "link", "EACCES", "permission", "permission denied")


@cell("EACCES of openat", "recording: begin")
def permission_at_begin(bench):
    recorder = bench.start([bench.stream("one")])
    [path] = recorder.recording()
    # The next part's name is known; the source ends first.
    next_path = path.replace(".ts.part", "_part002.ts.part")
    with bench.fault(recorder, next_path, "openat", "error=EACCES:when=1"):
        run("pkill", "-KILL", "-P", recorder.process.pid)
        until("a refusal", lambda: bench.metrics()['recordings_refused_total{reason="permission"}'] == 1)
    until("the next part", lambda: any("_part002" in p for p in recorder.recording()))
    ended_in_time(recorder.stop(), 0)
    check_files_and_rows(bench)
    return "refused and counted, tried again, goes on as part 2; clean stop"


def fault_in_recovery(bench, error, reason):
    recorder = bench.start([bench.stream("one"), bench.stream("two")])
    path, other = sorted(recorder.recording(2))
    recorder.send(signal.SIGKILL)
    recorder.end()
    wrapper = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-P", path, "-e", "trace=openat", "-e", f"inject=openat:error={error}"]
    recorder = bench.start([], wrapper)
    recorder.line("left for the next start")
    until("the other file", lambda: len(bench.files(".ts")) == 1)
    expect(bench.metrics(), **{f"finalize_errors_total__{reason}": 1}, recovered_recordings_total=1)
    ended_in_time(recorder.stop(), 0)
    assert decodes(path) > 0
    heal(bench)
    return f"counted as {reason}, the other file published; next start heals"


@cell("EIO of openat", "recovery")
def io_in_recovery(bench):
    return fault_in_recovery(bench, "EIO", "io")


@cell("EACCES of openat", "recovery")
def permission_in_recovery(bench):
    return fault_in_recovery(bench, "EACCES", "permission")


# --- Locks

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
        next_one.line("in use by another recorder")
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
        until("the deletion", lambda: not other.exists())
        recorder.line("locked by another program")
        ended_in_time(recorder.stop(), 0)
        assert path.exists() and decodes(path) > 0
    check_files_and_rows(bench)
    assert bench.rows("SELECT status, deleted_because FROM parts ORDER BY path DESC") == [("deleted", "age"), ("finished", None)]
    return "the locked file stays, the other goes, and is marked in the catalogue"


# --- Things that hang

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


@cell("fsync hangs 60 s", "recovery", in_sample=True)
def hanging_recovery(bench):
    recorder = bench.start([bench.stream("one")])
    [path] = recorder.recording()
    recorder.send(signal.SIGKILL)
    recorder.end()
    wrapper = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-P", path, "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=60000000"]
    recorder = bench.start([], wrapper)
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


@cell("database connection not given back (its fsync hangs)", "shutdown: database", in_sample=True)
def hanging_database(bench):
    recorder = bench.start([bench.stream("one")])
    recorder.recording()
    with bench.fault(recorder, bench.recordings / "catalogue.sqlite-wal", "fsync,fdatasync", "delay_enter=60000000"):
        ended = recorder.stop()
    ended_in_time(ended, 0)
    assert "❌ Error disposing database engine: connection pool exhausted" in recorder.log
    expect(bench.metrics(), shutdown_phases_total__database__timeout=1, shutdown_phases_total__recordings__ok=1,
           shutdowns_total__degraded=1, recordings_finished_total__interrupted=1)
    assert bench.rows("PRAGMA integrity_check") == [("ok",)]
    heal(bench)
    return "file whole, connection pool exhausted, exit 0; next start enters the row"


@cell("database hangs", "recording: begin")
def hanging_database_at_begin(bench):
    held = bench.stream("one")
    go = bench.base / "go"
    argv = held["source"]["argv"]
    held["source"]["argv"] = ["sh", "-c", f"while [ ! -e {go} ]; do sleep 0.05; done; exec \"$@\"", "sh", *argv]
    recorder = bench.start([held])
    until("the start", lambda: bench.metrics()['recorder_state{streamvault_recorder_state="recording"}'] == 1)
    with bench.fault(recorder, bench.recordings / "catalogue.sqlite-wal", "pwrite64", "delay_enter=60000000"):
        go.touch()
        recorder.recording()
        ended_in_time(recorder.stop(), 0)
    [path] = bench.files(".ts")
    assert decodes(path) > 0
    heal(bench)
    return "records and finalizes all the same, exit 0; next start makes the rows true"


@cell("EIO of the database's write", "shutdown: recordings")
def failing_database(bench):
    recorder = bench.start([bench.stream("one")])
    recorder.recording()
    with bench.fault(recorder, bench.recordings / "catalogue.sqlite-wal", "pwrite64", "error=EIO"):
        ended = recorder.stop()
    ended_in_time(ended, 0)
    assert "❌ Error disposing database engine: io" in recorder.log
    metrics = bench.metrics()
    expect(metrics, shutdown_phases_total__database__error=1, shutdown_phases_total__recordings__ok=1)
    assert metrics['database_errors_total{reason="io"}'] > 0
    heal(bench)
    return "file whole, database phase `error` (io), exit 0; next start enters the row"


@cell("catalogue damaged", "start")
def damaged_catalogue(bench):
    recorder = bench.start([bench.stream("one")])
    recorder.recording()
    ended_in_time(recorder.stop(), 0)
    catalogue = bench.recordings / "catalogue.sqlite"
    whole = catalogue.read_bytes()
    catalogue.write_bytes(b"\xff" * 4096 + whole[4096:])
    kept = [path.read_bytes() for path in bench.files(".ts")]
    recorder = bench.start([bench.stream("two")])
    recorder.line("set aside as")
    recorder.recording()
    ended_in_time(recorder.stop(), 0)
    assert [path.read_bytes() for path in bench.files(".ts")][0] == kept[0]
    check_files_and_rows(bench)
    assert bench.rows("SELECT count(*) FROM recordings") == [(2,)]
    assert bench.metrics()['database_errors_total{reason="corrupt"}'] == 1
    return "set aside, a new one begun, whole files entered by their names, recording goes on; counted as corrupt"


@cell("program ignores SIGINT and SIGTERM", "shutdown: recordings", in_sample=True)
def deaf_program(bench):
    recorder = bench.start([bench.stream("one", deaf=True)])
    recorder.recording()
    ended_in_time(recorder.stop(), 0)
    expect(bench.metrics(), shutdowns_total__clean=1)
    check_files_and_rows(bench)
    return "killed in stages, file whole, clean, exit 0"


# --- Conversions

def cut_remux(bench, number):
    recorder = bench.start([bench.stream("one")])
    recorder.recording()
    ended_in_time(recorder.stop(), 0)
    # A program that is deaf and takes for ever, in the place of ffmpeg.
    programs = bench.base / "programs"
    programs.mkdir()
    slow = programs / "ffmpeg"
    started = bench.base / "started"
    slow.write_text(f"#!/bin/sh\ntrap '' TERM INT\necho $$ > {started}\nwhile :; do sleep 1; done\n")
    slow.chmod(0o755)
    remux = {"to": "mp4", "delete_source": True}
    recorder = bench.start([bench.stream("two")], remux=remux)
    recorder.recording()
    ended_in_time(recorder.stop(), 0)
    recorder = bench.start([], ["env", f"PATH={programs}:{os.environ['PATH']}"], remux=remux)
    pid = until("the conversion", lambda: started.exists() and started.read_text().strip(), 120)  # At the lowest priority.
    ended = recorder.stop(number)
    if number == signal.SIGKILL:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)  # Nobody is left to end it; a container's end would.
    else:
        ended_in_time(ended, 0)
        until("the program's end", lambda: not pathlib.Path(f"/proc/{pid}").exists()
              or ") Z" in pathlib.Path(f"/proc/{pid}/stat").read_text())
        expect(bench.metrics(), shutdowns_total__clean=3, shutdown_phases_total__cleanup__ok=3)
    check_files_and_rows(bench)
    sources = {path.stem for path in bench.files(".ts")}
    recorder = bench.start([], remux=remux)
    recorder.line("Source of a remux deleted", 120)
    ended_in_time(recorder.stop(), 0)
    [product] = bench.files(".mp4")
    assert product.stem in sources and product.stem not in {path.stem for path in bench.files(".ts")}
    assert not bench.files(".remux")
    assert bench.rows("SELECT status FROM jobs") == [("done",)]
    assert bench.rows(f"SELECT bytes FROM parts WHERE path LIKE '%{product.name}'") == [(product.stat().st_size,)]
    status, text = run("ffmpeg", "-v", "error", "-i", product, "-t", "1", "-f", "null", "-")
    assert status == 0 and not text, text
    return "the source is untouched; next start converts, verifies, and only then deletes the source"


for number in (signal.SIGTERM, signal.SIGKILL):
    cell(number.name, "remux", number == signal.SIGTERM)(lambda bench, number=number: cut_remux(bench, number))


# --- Signals in each phase: the phase is held by slowing down the log's file

PHASES = {
    "signal": "🛑 Starting application shutdown",
    "recordings": "📁 Finalizing recording files",
    "broadcaster": "🔄 Stopping active recordings broadcaster",
    "cleanup": "🔄 Cancelling cleanup task",
    "eventsub": "🔄 Stopping EventSub",
    "database": "🔄 Closing database connections",
}


def signal_in_phase(bench, phase, number):
    recorder = bench.start([bench.stream("one"), bench.stream("two")])
    paths = recorder.recording(2)
    with bench.fault(recorder, bench.log_file, "write", "delay_enter=150000"):
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
    return "hurries, files whole, exit 0"


for phase in PHASES:
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
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


def main():
    words = [word for word in sys.argv[1:] if word != "--sample"]
    chosen = [one for one in CELLS if ("--sample" not in sys.argv or one[2])
              and (not words or any(word in f"{one[0]} {one[1]}" for word in words))]
    assert chosen, "no such cell"
    failures = 0
    print("| fault | when | what becomes of it | s |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="streamvault-faults-") as base:
        sample = pathlib.Path(base) / "sample.ts"
        make_sample(sample)
        for number, (fault, phase, _, body) in enumerate(chosen):
            bench = Bench(pathlib.Path(base) / str(number), sample)
            start = time.monotonic()
            try:
                outcome = body(bench)
            except Exception as error:  # A surprise of any kind is one row, and the others are still tried.
                failures += 1
                outcome = f"**{type(error).__name__}: {error}**".replace("\n", " ")[:2000]
                traceback.print_exc()
            finally:
                bench.close()
            print(f"| {fault} | {phase} | {outcome} | {time.monotonic() - start:.1f} |", flush=True)
    print(f"{len(chosen)} cells, {failures} failed")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
