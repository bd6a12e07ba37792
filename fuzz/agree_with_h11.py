#!/usr/bin/env python3
"""Compares how our parser and h11 read the same bytes: what we accept, h11 must read as the same request.

usage: fuzz/agree_with_h11.py READER DIRECTORY...

READER is the program RequestReader of this package; the directories hold the bytes of one connection in each file. What h11
accepts and we refuse is not told: where the RFC lets a recipient choose, we refuse.
"""

import subprocess
import sys
from pathlib import Path

import h11


def ours(reader, inputs):
    text = "\n".join(data.hex() for data in inputs) + "\n"
    lines = subprocess.run([reader], input=text, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == len(inputs)
    return lines


def theirs(data):
    """The first request as h11 reads it, in the words of the reader."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 16)
    connection.receive_data(data)
    request = connection.next_event()
    if not isinstance(request, h11.Request):
        return "incomplete"
    content = b""
    while isinstance(event := connection.next_event(), h11.Data):
        content += event.data
    if not isinstance(event, h11.EndOfMessage):
        return "incomplete"
    hosts = ",".join(value.hex() for name, value in request.headers if name == b"host")
    consumed = len(data) - len(connection.trailing_data[0])
    return " ".join(["request", request.target.hex(), hosts or "-", content.hex() or "-", str(consumed)])


def main():
    reader, directories = sys.argv[1], sys.argv[2:]
    inputs = [path.read_bytes() for directory in directories for path in Path(directory).iterdir()]
    accepted, differing = 0, []
    for data, answer in zip(inputs, ours(reader, inputs)):
        if not answer.startswith("request"):
            continue
        accepted += 1
        try:
            other = theirs(data.removeprefix(b"\r\n"))
        except h11.RemoteProtocolError as error:
            other = f"refused: {error}"
        words = answer.split()
        # h11 takes no empty line before a request, which RFC 9112 section 2.2 asks a server to skip.
        skipped = 2 if data.startswith(b"\r\n") else 0
        expected = " ".join([*words[:4], str(int(words[4]) - skipped)])
        if other != expected:
            differing.append((data, expected, other))
    for data, expected, other in differing:
        print(f"{data!r}\n  ours   {expected}\n  h11's  {other}")
    print(f"{len(inputs)} inputs, {accepted} accepted, {len(differing)} of them read differently by h11")
    sys.exit(bool(differing))


main()
