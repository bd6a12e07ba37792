#!/usr/bin/env python3
"""Lets real faults meet a real recorder in each phase where they can, and checks what becomes of files, rows and numbers.

usage: matrix.py [--sample] [PART_OF_A_NAME]...     as root; needs strace and ffmpeg. Prints a table; exits with 1 on a surprise.
"""

import pathlib
import sys
import tempfile
import time
import traceback

import cells  # noqa: F401
from bench import Bench, make_sample
from cell import CELLS


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
