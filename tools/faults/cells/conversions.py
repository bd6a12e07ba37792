"""Ends in the middle of a conversion."""

import contextlib
import os
import pathlib
import signal

from bench import check_files_and_rows
from harness import run, wait_for
from cell import cell, ended_in_time, expect


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
    pid = wait_for("the conversion", lambda: started.exists() and started.read_text().strip(), 120)  # At the lowest priority.
    ended = recorder.stop(number)
    if number == signal.SIGKILL:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)  # Nobody is left to end it; a container's end would.
    else:
        ended_in_time(ended, 0)
        wait_for("the program's end", lambda: not pathlib.Path(f"/proc/{pid}").exists()
              or ") Z" in pathlib.Path(f"/proc/{pid}/stat").read_text())
        expect(bench.metrics(), shutdowns_total__clean=3, shutdown_phases_total__cleanup__ok=3)
    check_files_and_rows(bench)
    sources = {path.stem for path in bench.files(".ts")}
    recorder = bench.start([], remux=remux)
    recorder.line("Source of a converted recording deleted", 120)
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
