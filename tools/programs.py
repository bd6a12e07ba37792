"""The two built programs, for the checks that run them."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILT = Path(os.environ.get("STREAMVAULT_BIN", ROOT / ".build" / "debug")).resolve()


def program(name):
    """The path of streamvault-recorder or streamvault-exporter; a missing one ends the check."""
    path = BUILT / f"streamvault-{name}"
    if not path.is_file():
        sys.exit(f"{path}: not built (swift build, or name its directory in STREAMVAULT_BIN)")
    return str(path)


def flags(name):
    """What --help lists: {"--flag": "STREAMVAULT_VARIABLE"}."""
    text = subprocess.run([program(name), "--help"], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^  (--[a-z.-]+).*?(?:\[(STREAMVAULT_\w+)\])", text, re.M | re.S)
    assert found, f"no flags in the help of {name}"
    return dict(found)


class Report:
    """Collects what is wrong, so that one run names everything."""

    def __init__(self):
        self.problems = []
        self.checked = 0

    def expect(self, holds, problem):
        self.checked += 1
        if not holds:
            self.problems.append(problem)

    def end_if_wrong(self, subject):
        for problem in self.problems:
            print(f"{subject}: {problem}", file=sys.stderr)
        if self.problems:
            sys.exit(1)

    def end(self, subject):
        self.end_if_wrong(subject)
        print(f"{subject}: {self.checked} checks passed")
