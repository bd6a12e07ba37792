"""Disks that are full, that fail, and that nobody may write to."""

import signal

from bench import check_files_and_rows, decodes
from harness import run, wait_for
from cell import cell, ended_in_time, expect, heal


@cell("disk full (8 MiB tmpfs)", "recording", in_sample=True)
def full_disk(bench):
    bench.mount(bench.recordings, "8m")
    disk = {"warn_below": "3MiB", "refuse_below": "2MiB", "reserve": "512KiB"}
    recorder = bench.start([bench.stream("one", rate=1_000_000)], disk=disk)
    recorder.line("Disk space is low")
    recorder.line("new recordings are refused")
    recorder.line("Disk reserve released")
    recorder.line("Recording finalized")
    metrics = wait_for("a refusal", lambda: (m := bench.metrics())["recordings_refused_total{reason=\"no_space\"}"] > 0 and m)
    expect(metrics, recordings_finished_total__failed=1, recording_write_errors_total__no_space=1, disk_level__full=1,
           disk_reserve_bytes=0, finalize_errors_total=0)
    [whole] = bench.files(".ts")
    assert decodes(whole) > 1
    status, text = run("mount", "-o", "remount,size=64m", bench.recordings)
    assert status == 0, text
    recorder.line("Disk space is sufficient again")
    part_two = recorder.recording()[0]
    assert part_two.endswith("_part002.ts.part"), part_two
    wait_for("the reserve", lambda: bench.metrics()["disk_reserve_bytes"] == 512 << 10)
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
    part_two = wait_for("the next part", lambda: next((p for p in recorder.recording() if "_part002" in p), None))
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
    wait_for("the next part", lambda: any("_part002" in p for p in recorder.recording()))
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
        wait_for("a refusal", lambda: bench.metrics()['recordings_refused_total{reason="permission"}'] == 1)
    wait_for("the next part", lambda: any("_part002" in p for p in recorder.recording()))
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
    recorder.line("left unchanged")
    wait_for("the other file", lambda: len(bench.files(".ts")) == 1)
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
