#!/usr/bin/env python3
"""Compares how our parser reads the request vectors of nodejs/llhttp with how llhttp does, and prints a table.

usage: fuzz/agree_with_llhttp.py READER LLHTTP [VERDICT]...

READER is the program RequestReader of this package; LLHTTP is a checkout of nodejs/llhttp, or its git directory. Its vectors
are read and not copied. Vectors of a VERDICT, such as stricter, are shown. Each is given to our parser at once and in pieces of 1, 2, 3 and 7 bytes, alone, behind another
request, and before another one. It fails when

- the result depends on the pieces or on what came before (split),
- a request after a vector is not read as itself (desynchronized),
- we take a request that llhttp refuses, or read another method, target, content or end (differs).

What llhttp takes and we refuse is counted as stricter: where the RFC lets a recipient choose, we refuse. The vectors have no
Host field, which HTTP/1.1 requires: it is added to each request whose end of line llhttp has found.
"""

import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

BEFORE = b"GET /before HTTP/1.1\r\nHost: x\r\n\r\n"
AFTER = b"GET /after HTTP/1.1\r\nHost: x\r\n\r\n"
PIECES = (0, 1, 2, 3, 7)
# What llhttp says when it has read a request after which another protocol begins, or was told to pause.
PAUSES = {"2", "21", "22", "23", "24", "25", "31"}


def documents(root):
    """The Markdown files with request vectors, by name."""
    folder = Path(root) / "test" / "request"
    if folder.is_dir():
        return {path.name: path.read_text() for path in sorted(folder.glob("*.md"))}
    git = ["git", "--git-dir", root]
    listing = subprocess.run([*git, "ls-tree", "--name-only", "HEAD", "test/request/"], capture_output=True, text=True, check=True)
    names = [name for name in listing.stdout.split() if name.endswith(".md")]
    if not names:
        sys.exit(f"{root}: no test/request/*.md")
    show = lambda name: subprocess.run([*git, "show", f"HEAD:{name}"], capture_output=True, text=True, check=True).stdout
    return {Path(name).name: show(name) for name in names}


def unescape(text):
    """A vector's bytes, by the rules of llhttp's test/md-test.ts; None when it computes something that is not a repetition."""
    text = text.removesuffix("\n")
    text = re.sub(r"\\(\r\n|\r|\n)", "", text)
    text = re.sub(r"\r\n|\r|\n", "\r\n", text)
    for escape, character in {"r": "\r", "n": "\n", "t": "\t", "f": "\f"}.items():
        text = text.replace("\\" + escape, character)
    text = re.sub(r"\\x([0-9a-fA-F]+)", lambda match: chr(int(match[1], 16)), text)
    text = re.sub(r"\\([0-7]{1,3})", lambda match: chr(int(match[1], 8)), text)
    text = re.sub(r"\$\{'(.)'\.repeat\((\d+)\)\}", lambda match: match[1] * int(match[2]), text)
    return None if "${" in text else text.encode("utf-8")


def vectors(text):
    """Each vector of a document: heading, type, bytes and llhttp's log."""
    pattern = r"<!-- meta=(\{.*?\}) -->\s*```http\n((?:(?!```).)*)```(?:(?!```).)*```log\n(.*?)```"
    for match in re.finditer(pattern, text, re.S):
        headings = re.findall(r"^#+ (.*)$", text[: match.start()], re.M)
        kind = re.search(r'"type": *"([^"]+)"', match[1])
        data = unescape(match[2])
        if kind and data is not None and '"skip": true' not in match[1]:
            yield headings[-1] if headings else "?", kind[1], data, match[3]


def theirs(data, log):
    """How llhttp reads it: its requests, how it ends (complete, incomplete, error, pause), and where Host is missing."""
    requests, places = [], []
    current, ending, fields = None, "complete", []
    for line in log.splitlines():
        if span := re.match(r"off=(\d+) len=(\d+) span\[(\w+)\]", line):
            start, length, name = int(span[1]), int(span[2]), span[3]
            value = data[start : start + length]
            if current is None:
                continue
            if name in ("method", "url", "body"):
                current[name] += value
            elif name == "version":
                fields, place = [], start + length + 2
            elif name == "header_field":
                fields.append(value.lower())
        elif line.endswith("message begin"):
            current, ending, place = {"method": b"", "url": b"", "body": b""}, "incomplete", None
        elif "headers complete" in line and current is not None:
            if place and b"host" not in fields and data[place - 2 : place] == b"\r\n":
                places.append(place)
            place = None
        elif "message complete" in line and current is not None:
            requests.append((current["method"], current["url"], current["body"]))
            current, ending = None, "complete"
        elif error := re.search(r"error code=(\d+)", line):
            ending = "pause" if error[1] in PAUSES and current is None else "error"
            break
    if current is not None and ending != "complete" and place and b"host" not in fields and data[place - 2 : place] == b"\r\n":
        places.append(place)
    return requests, ending, places


def with_hosts(data, places):
    for place in sorted(places, reverse=True):
        data = data[:place] + b"Host: x\r\n" + data[place:]
    return data


class Reader:
    """Our parser; all questions are asked in one run."""

    def __init__(self, path):
        self.path, self.questions = path, {}

    def ask(self, data, piece):
        self.questions[data, piece] = None

    def run(self):
        lines = [f"{piece} {data.hex()}" for data, piece in self.questions]
        run = subprocess.run([self.path, "connection"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=True)
        answers = run.stdout.splitlines()
        assert len(answers) == len(lines)
        self.questions = dict(zip(self.questions, (answer.split(";") for answer in answers)))

    def __call__(self, data, piece=0):
        return self.questions[data, piece]


def requests_of(events):
    """Those of our reader's events that are requests; its method has a dash behind it, as it may be empty."""
    parts = [event.split(" ") for event in events if event.startswith("request ")]
    unhex = lambda text: b"" if text == "-" else bytes.fromhex(text)
    return [(method[:-1].encode(), unhex(target), unhex(content)) for _, method, target, content in parts]


def agrees(ours, others):
    """An unknown method has no name in our reading."""
    return all(own[1:] == other[1:] and own[0] in (b"", other[0]) for own, other in zip(ours, others))


def judge(read, data, requests, ending):
    """The verdict on one vector, and what to show of it."""
    events = read(data)
    for piece in PIECES[1:]:
        if read(data, piece) != events:
            return "split", f"at once {events}, by {piece} {read(data, piece)}"
    before = read(BEFORE + data)
    if before[1:] != events:
        return "split", f"alone {events}, behind a request {before[1:]}"
    own = requests_of(events)
    if own and own[-1][0] == b"" and ending == "error" and agrees(own[:-1], requests):
        return "unknown method", ""  # Which a handler answers by 405; llhttp has a list of all there are.
    if not agrees(own, requests) or (len(own) > len(requests) and ending != "pause"):
        return "differs", f"ours {events}, llhttp's {requests} {ending}"
    last = events[-1]
    if last == "end":
        after = read(data + AFTER)
        if after[: len(own)] != events[: len(own)] or requests_of(after)[len(own) :] != [(b"GET", b"/after", b"")]:
            return "desynchronized", f"{after}"
        return "same", ""
    if last == "close":
        return "same", ""
    if last == "incomplete":
        return ("same" if ending != "error" else "later"), f"ours {events}, llhttp's {requests} {ending}"
    return ("both refuse" if ending == "error" else "stricter"), last


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    reader, rows, notes = Reader(sys.argv[1]), defaultdict(Counter), []
    cases = []
    for name, text in documents(sys.argv[2]).items():
        for heading, kind, data, log in vectors(text):
            requests, ending, places = theirs(data, log)
            cases.append((name, heading, kind, with_hosts(data, places), requests, ending))
    for *_, data, _, _ in cases:
        for piece in PIECES:
            reader.ask(data, piece)
        reader.ask(BEFORE + data, 0)
        reader.ask(data + AFTER, 0)
    reader.run()
    for name, heading, kind, data, requests, ending in cases:
        verdict, note = judge(reader, data, requests, ending)
        rows[name][verdict] += 1
        lenient = "" if kind == "request" else f" ({kind})"
        if verdict in ("split", "differs", "desynchronized") or verdict in sys.argv[3:]:
            notes.append(f"{verdict}: {name}: {heading}{lenient}\n  {data[:300]!r}\n  {note}")
    columns = ["same", "unknown method", "both refuse", "stricter", "later", "differs", "split", "desynchronized"]
    print(f"{'vectors of':40}" + "".join(f"{column:>16}" for column in ["all", *columns]))
    rows["all"] = sum(rows.values(), Counter())
    for name, row in rows.items():
        print(f"{name:40}{sum(row.values()):16}" + "".join(f"{row[column]:16}" for column in columns))
    print("\n".join(notes))
    sys.exit(any(rows["all"][column] for column in ("differs", "split", "desynchronized")))


main()
