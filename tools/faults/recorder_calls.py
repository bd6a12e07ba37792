"""Every system call that the recorder makes on its files, made to fail: what that costs, and that it costs no more."""

import pathlib
import shutil
import signal
import subprocess

from bench import Bench, Recorder, check_rows
from harness import PACKET_BYTES, wait_for
from recorder_faults import ATTACHED, Cell, FOUND, cells_of, is_sure  # noqa: F401
from strace import NotMade, calls

GRACE = 8
RATE = 1_000_000
ENOUGH = 350_000
MARKS = [("Recorder started", "recovery"), ("of an earlier run", "begin"), ("Recording started", "recording"),
         ("Starting application shutdown", "finalize"), ("Closing database", "close")]
# Where the reason of a recording's failure is counted, and what it is called.
RECORDING_COUNTERS = ("finalize_errors_total", "recording_write_errors_total", "recordings_refused_total")
REASONS = {"EIO": "io", "ENOSPC": "no_space", "EACCES": "permission", "EAGAIN": "file_locked"}


class Template:
    """A directory as a killed recorder left it: a part file, a write-ahead log, a segment. Each cell gets a copy."""

    def __init__(self, base, sample):
        self.base, self.sample = pathlib.Path(base), sample
        self.media = sample.read_bytes()
        self.bench = Bench(self.base / "template", sample)
        self.configure(self.bench)
        recorder = Recorder(self.bench)
        [path] = recorder.recording()
        recorder.send(signal.SIGKILL)
        recorder.end()
        self.bench.earlier = pathlib.Path(path).name.split(".")[0]
        self.shim = self.build_shim()

    def build_shim(self):
        compiler = pathlib.Path(shutil.which("swift")).resolve().parent / "clang"
        shim = self.base / "short.so"
        source = pathlib.Path(__file__).with_name("short.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", shim, source], check=True)
        return shim

    def configure(self, bench, streams=None):
        """Relative directories, so that the rows of a copy name its own files."""
        one = [bench.stream("one", rate=RATE)] if streams is None else streams
        bench.configure(one, grace=f"{GRACE}s", recordings_dir="recordings", telemetry_dir="telemetry", sync_interval="200ms")

    def copy(self, name):
        bench = Bench(self.base / name, self.sample)
        for directory in ("recordings", "telemetry"):
            shutil.copytree(self.bench.base / directory, bench.base / directory, dirs_exist_ok=True)
        self.configure(bench)
        bench.earlier = self.bench.earlier
        return bench

    def file(self, bench, path):
        """The name that stands for a path in every copy; `None` for a path elsewhere."""
        if not path.startswith(f"{bench.base}/"):
            return None
        name = path.removeprefix(f"{bench.base}/").replace(bench.earlier, "EARLIER")
        if name in ("recorder-0.log", "trace", "one.count"):
            return "standard output" if name.startswith("recorder-") else None
        return name

    def path(self, file):
        return file.replace("EARLIER", self.bench.earlier).replace("standard output", "recorder-0.log")


def begin(bench, wrapper=(), environment=None, is_lasting=False):
    """Starts, recovers, and records some media; a fault that is lasting may not allow that."""
    recorder = Recorder(bench, wrapper, environment)
    wait_for("the start, or its refusal", lambda: "Recorder started" in told(recorder) or recorder.process.poll() is not None)

    def has_recorded():
        sizes = [path.stat().st_size for path in bench.recordings.glob("one-*") if not is_earlier(bench, path)]
        return sum(sizes) > ENOUGH or recorder.process.poll() is not None or is_lasting and "Stream failed" in told(recorder)

    wait_for("some media", has_recorded)
    return recorder


def end(recorder):
    if recorder.process.poll() is None:
        recorder.send(signal.SIGTERM)
    return recorder.end()


def is_earlier(bench, path):
    """Whether a file is of the run that was killed."""
    return path.name.split(".")[0] == bench.earlier


def told(recorder):
    """What the recorder has said, on standard output and in its log: a fault may cost one of them lines."""
    log = recorder.bench.log_file
    return recorder.log + (log.read_text(errors="replace") if log.exists() else "")


def enumerate_cells(template):
    """Runs through once without a fault; every call on a file is a cell for each error, in each stage where it is made."""
    bench = template.copy("dry")
    trace = bench.base / "trace"
    recorder = begin(bench, ["strace", "-D", "-f", "-y", "-s", "160", "-o", str(trace)])
    assert end(recorder)[0] == 0, recorder.log
    wait_for("the trace", lambda: "+++ exited" in trace.read_text(errors="replace").splitlines()[-1])
    first, in_start = {}, {}
    for call in calls(trace, MARKS, str(bench.base), anew=ATTACHED[0]):
        file = template.file(bench, call.target)
        if call.stage == "start":
            in_start[call.name, file] = max(call.place, in_start.get((call.name, file), 0))
        if file and is_sure(call, file):
            cell = Cell(call, file, "", "", in_start.get((call.name, file), 0))
            first.setdefault((call.title, file, call.stage), cell)
    return cells_of(first.values())


class Life:
    """One run with a fault, and what it left."""

    def __init__(self, template, cell, name):
        self.template, self.cell, self.ended = template, cell, None
        self.bench = template.copy(name)
        self.earlier = next(self.bench.recordings.glob("*.ts.part")).read_bytes()

    def live(self):
        bench, cell = self.bench, self.cell
        proof = bench.base / ("short" if cell.error == "short" else "trace")
        path = None if cell.is_unnamed else bench.base / self.template.path(cell.file)
        injection = f"error={cell.error}:when={cell.occurrences}"
        if cell.error == "short":
            shim = {"LD_PRELOAD": str(self.template.shim), "SHORT_PATH": str(path), "SHORT_PROOF": str(proof)}
            self.recorder = begin(bench, environment=shim)
        elif cell.is_attached:
            self.recorder = begin(bench)
            with bench.fault(self.recorder, path, cell.call.name, injection, proof):
                self.ended = end(self.recorder)
        else:
            command = bench.strace(path, cell.call.name, injection, proof)
            self.recorder = begin(bench, [*command, "-D", "--seccomp-bpf"], is_lasting=cell.when == "on")
        self.ended = self.ended or end(self.recorder)
        self.log = told(self.recorder)
        sign = "" if cell.error == "short" else "(INJECTED)"
        if not proof.exists() or sign not in proof.read_text(errors="replace"):
            raise NotMade(cell.subject)

    @property
    def was_refused(self):
        return "Recorder started" not in self.log

    def check(self):
        """The promises of one run; what it cost, in words."""
        status, seconds = self.ended
        assert status in (0, 1) or self.was_refused and status == 78, f"ended with {status}"
        assert seconds < GRACE, f"took {seconds:.1f} s of {GRACE}"
        self.check_media()
        if self.was_refused:
            return self.check_refusal(status)
        assert (status == 1) == ("❌ Error during recording service shutdown" in self.log), f"status {status}:\n{self.log}"
        if self.cell.when == "often" and not self.cell.file.startswith("recordings"):
            assert self.bench.log_file.read_text() == self.recorder.log, "lines are lost"
        self.metrics = self.bench.metrics()
        return self.check_counts(status)

    def check_refusal(self, status):
        lines = self.recorder.log.splitlines()
        assert self.cell.may_refuse, f"must not cost the start: {lines}"
        assert status in (1, 78) and len(lines) == 1 and lines[0].startswith("streamvault-recorder: "), lines
        return "start refused"

    def check_media(self):
        """Every file plays: it is the source's bytes from their beginning, in whole packets once it has its name."""
        earlier = 0
        for path in self.bench.recordings.glob("one-*"):
            data = path.read_bytes()
            assert self.template.media.startswith(data), f"{path.name} is not what the source sent"
            assert path.name.endswith(".part") or len(data) % PACKET_BYTES == 0, f"{path.name}: {len(data)} bytes"
            if is_earlier(self.bench, path):
                earlier = max(earlier, len(data))
        assert earlier > len(self.earlier) - PACKET_BYTES, f"{earlier} of {len(self.earlier)} bytes of the earlier run are left"

    def counted(self, *names):
        """{(name, reason): count} of what is not 0."""
        return {(series.split("{")[0], series.split('="')[1].split('"')[0]): count for series, count in self.metrics.items()
                if series.split("{")[0] in names and count > 0}

    def check_counts(self, status):
        cell, words = self.cell, []
        failures = self.counted(*RECORDING_COUNTERS)
        reason = REASONS.get(cell.error, "other")
        assert all(found == reason for _, found in failures), f"{failures}, not {reason}"
        database = self.counted("database_errors_total")
        left = {is_earlier(self.bench, path) for path in self.bench.files(".part")}
        if False in left:
            assert failures, f"a part is left, and nothing counted:\n{self.log}"
            words.append("part kept")
        if True in left:
            assert any(line in self.log for line in EARLIER_KEPT), f"an earlier part is left, and nothing said:\n{self.log}"
            words.append("earlier part kept")
        is_catalogue = cell.file.startswith("recordings/catalogue")
        is_media = cell.file.startswith("recordings") and not is_catalogue
        assert is_media or not failures, failures
        assert is_catalogue or cell.file == "recordings" or not database, database  # SQLite looks at the directory, too.
        assert not any(found == "corrupt" for _, found in database), database
        if not is_media:
            assert status == 0, self.log
            self.check_whole()
        if not cell.file.startswith("telemetry"):
            assert (self.metrics["crashes_total"], self.metrics["recorder_runs_total"]) == (1, 2)
        words += sorted({f"{name.removesuffix('_total').replace('_', ' ')}: {found}" for name, found in [*failures, *database]})
        words += [told for line, told in TOLD.items() if line in self.log]
        words += ["exit 1"] if status else []
        return ", ".join(words) or "nothing"

    def check_whole(self):
        """All that the source has sent is in one finished file."""
        [whole] = [path for path in self.bench.files(".ts") if not is_earlier(self.bench, path)]
        sent = int((self.bench.base / "one.count").read_text())
        assert whole.stat().st_size > sent - PACKET_BYTES, f"{whole.stat().st_size} bytes of {sent}"

    def heal(self):
        """The next start, without the fault: no part is left, rows and files agree, and no file has become shorter."""
        before = {path.name.split(".")[0]: path.stat().st_size for path in self.bench.recordings.glob("one-*")}
        self.template.configure(self.bench, streams=[])
        recorder = Recorder(self.bench)
        wait_for("the recovery", lambda: not self.bench.files(".part") and (recorder.active() or recorder.is_ready))
        assert recorder.stop()[0] == 0, recorder.log
        after = {path.name.split(".")[0]: path.stat().st_size for path in self.bench.recordings.glob("one-*.ts")}
        for name, size in before.items():
            assert after.get(name, 0) > size - PACKET_BYTES or size == 0, f"{name}: {after.get(name)} of {size} bytes\n{recorder.log}"
        self.check_media()
        check_rows(self.bench)


RECOVERY_DELAYED = 'msg="Task not started, to be tried again" task=recovery'
EARLIER_KEPT = (RECOVERY_DELAYED, "left unchanged", "locked by another program")
TOLD = {
    "Telemetry is impaired": "telemetry in memory",
    "kept in memory for this run": "catalogue in memory",
    "Disk reserve not allocated": "no reserve",
    RECOVERY_DELAYED: "recovery delayed",
    "Recovery not in the catalogue": "recovery not entered",
    "Catalogue changes wait": "changes wait",
    "Error disposing database": "database phase failed",
}


def run_cell(template, cell, number):
    life = Life(template, cell, f"cell-{number}")
    try:
        life.live()
        cost = life.check()
        life.heal()
        return cost
    finally:
        life.bench.close()
        shutil.rmtree(life.bench.base, ignore_errors=True)
