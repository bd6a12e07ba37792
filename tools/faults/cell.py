"""What the cells of the matrix have in common: how one is entered, and what it expects."""

from bench import check_files_and_rows
from harness import wait_for

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
    wait_for("the recovery", lambda: not bench.files(".part") and (recorder.active() or recorder.is_ready))
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
