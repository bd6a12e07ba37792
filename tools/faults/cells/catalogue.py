"""A database that hangs, fails, or is damaged."""

from bench import check_files_and_rows, decodes
from harness import wait_for
from cell import cell, ended_in_time, expect, heal


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
    wait_for("the start", lambda: bench.metrics()['recorder_state{streamvault_recorder_state="recording"}'] == 1)
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
    recorder.line("moved to")
    recorder.recording()
    ended_in_time(recorder.stop(), 0)
    assert [path.read_bytes() for path in bench.files(".ts")][0] == kept[0]
    check_files_and_rows(bench)
    assert bench.rows("SELECT count(*) FROM recordings") == [(2,)]
    assert bench.metrics()['database_errors_total{reason="corrupt"}'] == 1
    return "moved away, a new one begun, whole files entered by their names, recording goes on; counted as corrupt"
