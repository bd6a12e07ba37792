#!/usr/bin/env python3
"""Makes every system call of the recorder on its files, and of the exporter's server, fail: one in each run.

usage: calls.py [--sample] [PART_OF_A_NAME]...     as root; needs strace and ffmpeg. Prints a table; exits with 1 on a surprise.

Runs without a fault find the calls; so what the code calls tomorrow is tried tomorrow. A sample is one fault for each call.
"""

import concurrent.futures
import contextlib
import pathlib
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import exporter_calls  # noqa: E402
import recorder_calls  # noqa: E402
from bench import make_sample  # noqa: E402
from strace import NotMade  # noqa: E402

# A cell of the recorder computes, one of the exporter waits.
JOBS = {"recorder": 4, "exporter": 12}


def title(cell):
    return f"{cell.subject}: {cell.error} {cell.when}"


def sample_of(cells, found):
    """One cell for each call in each stage, each with another error as far as there are; and those that found a defect."""
    groups = {}
    for cell in cells:
        groups.setdefault(cell.subject, []).append(cell)
    sample = {group[number % len(group)] for number, group in enumerate(groups.values())}
    return [cell for cell in cells if cell in sample or title(cell) in found]


def try_patiently(try_one, cell, number):
    """Tries a cell, and again when its call was not made."""
    for attempt in range(2):
        with contextlib.suppress(NotMade):
            return try_one(cell, f"{number}-{attempt}")
    return try_one(cell, f"{number}-last")


def try_all(program, cells, try_one, found):
    """Tries each cell, several at the same time: {cell: what it costs}, and how many were a surprise."""
    costs, failed = {}, 0
    with concurrent.futures.ThreadPoolExecutor(JOBS[program]) as pool:
        futures = {pool.submit(try_patiently, try_one, cell, number): cell for number, cell in enumerate(cells)}
        for future in concurrent.futures.as_completed(futures):
            cell = futures[future]
            try:
                costs[cell] = future.result()
                wanted = found.get(title(cell), costs[cell])
                assert costs[cell] == wanted, f"it costs: {costs[cell]}; it should: {wanted}"
            except Exception:  # A surprise of any kind is one cell, and the others are still tried.
                failed += 1
                costs[cell] = "**a surprise**"
                print(f"{program}: {title(cell)}\n{traceback.format_exc()}", file=sys.stderr, flush=True)
    return costs, failed


def print_table(program, costs):
    """A row for each call in each stage, with its faults by what they cost."""
    rows = {}
    for cell in costs:
        errors = rows.setdefault(cell.subject, {}).setdefault(costs[cell], [])
        errors.append(cell.error if cell.when != "on" else f"{cell.error}…")
    print(f"\n| {program}: `call` of what, when | faults (… that last), and what they cost |\n|---|---|")
    for subject, by_cost in rows.items():
        costs_of_one = "; ".join(f"{' '.join(errors)}: {cost}" for cost, errors in by_cost.items())
        print(f"| {subject} | {costs_of_one} |")


def try_program(program, subject, module, words, is_sample):
    """How many cells were a surprise."""
    cells = module.enumerate_cells(subject)
    forgotten = module.FOUND.keys() - {title(cell) for cell in cells}
    assert not forgotten, f"no such faults any more: {forgotten}"
    chosen = [cell for cell in (sample_of(cells, module.FOUND) if is_sample else cells)
              if not words or any(word in f"{program} {title(cell)}" for word in words)]
    start = time.monotonic()
    costs, failed = try_all(program, chosen, lambda cell, number: module.run_cell(subject, cell, number), module.FOUND)
    print_table(program, {cell: costs[cell] for cell in chosen})
    seconds = time.monotonic() - start
    print(f"\n{program}: {len(chosen)} of {len(cells)} faults, {failed} with a surprise, {seconds:.0f} s", flush=True)
    return failed


def main():
    words, is_sample = [word for word in sys.argv[1:] if word != "--sample"], "--sample" in sys.argv
    with tempfile.TemporaryDirectory(prefix="streamvault-calls-") as base:
        sample = pathlib.Path(base) / "sample.ts"
        make_sample(sample)
        failed = try_program("recorder", recorder_calls.Template(base, sample), recorder_calls, words, is_sample)
        house = exporter_calls.House(base, sample)
        try:
            failed += try_program("exporter", house, exporter_calls, words, is_sample)
        finally:
            house.close()
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
