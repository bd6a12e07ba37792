#!/usr/bin/env python3
"""Records streams of tools/hls_origin.py with the recorder and with streamlink at the same time, and compares.

usage: beside_streamlink.py RECORDER [ROUNDS]      ROUNDS of 3 without an argument

Streams that misbehave, once to their end: the segments of one second that each has, and what ffmpeg says to each file.
Steady streams, in each round: once to their end, and one stream for both until they are told to end at the same moment.
Fails when the recorder has fewer segments, or when of a steady stream the recordings of the two differ by more than one.
"""
import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import hls_stream, wait_for, write_configuration

ROUGH = [("ts", "rough"), ("aes", "rough"), ("fmp4", "rough"), ("ts", "gaps"), ("ts", "reset")]
STEADY = [("ts", "calm"), ("fmp4", "calm"), ("aes", "calm"), ("range", "calm")]
SHARED = [("ts", "shared"), ("fmp4", "shared")]
TOOLS = Path(__file__).parent
FRAMES_A_SEGMENT = 25
PATIENCE = 60


def main():
    recorder, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    problems = []
    for name, ours, theirs in record(recorder, ROUGH):
        if show(f"{name}, to the end", ours, theirs) < 0:
            problems.append(f"{name}: streamlink has more")
    for number in range(1, rounds + 1):
        for streams, title in ((STEADY, f"to the end, {number}"), (SHARED, f"cut at the same time, {number}")):
            for name, ours, theirs in record(recorder, streams, is_cut=streams is SHARED):
                if abs(show(f"{name}, {title}", ours, theirs)) > 1:
                    problems.append(f"{name}, {title}: they differ")
    if problems:
        raise SystemExit("\n".join(problems))


def record(recorder, streams, is_cut=False):
    """Records each stream with both, to its end or to a moment before it: (name, the recorder's files, streamlink's files)."""
    with tempfile.TemporaryDirectory(prefix="beside-") as base, origin(Path(base) / "media") as address:
        base = Path(base)
        urls = {f"{form}-{faults}": f"{address}/{form}/{faults}/live.m3u8" for form, faults in streams}
        others = [start_streamlink(base, name, url) for name, url in urls.items()]
        if is_cut:
            await_files(base, [f"{name}.out" for name in urls])
        ours = start_recorder(recorder, base, urls)
        if is_cut:
            await_files(base, [f"recordings/{name}-2*" for name in urls])
            time.sleep(2)  # Some segments more, before the stream is over.
        else:
            await_ends(others)
        for process in (ours, *others):
            process.send_signal(signal.SIGTERM)
        for process in (ours, *others):
            process.wait(60)
        for name in urls:
            yield name, sorted((base / "recordings").glob(f"{name}-2*")), list(base.glob(f"{name}.out"))


@contextlib.contextmanager
def origin(media):
    process = subprocess.Popen([TOOLS / "hls_origin.py", media], stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def start_recorder(recorder, base, urls):
    config = write_configuration(base, [hls_stream(name, url) for name, url in urls.items()])
    return subprocess.Popen([recorder, "--config", config], stdout=subprocess.DEVNULL)


def start_streamlink(base, name, url):
    command = ["streamlink", "--loglevel", "error", "--hls-live-edge", "99999", "-o", base / f"{name}.out", url, "best"]
    return subprocess.Popen(command)


def await_ends(others):
    """Waits for streamlink, which may miss the end of a stream that misbehaves, and a little longer for the recorder."""
    deadline = time.monotonic() + 90
    for other in others:
        with contextlib.suppress(subprocess.TimeoutExpired):
            other.wait(max(0, deadline - time.monotonic()))
    time.sleep(2)


def await_files(base, patterns):
    """Waits until there is media for each pattern: a start takes longer on a machine that is busy."""
    def have_media():
        return all(any(file.stat().st_size for file in base.glob(pattern)) for pattern in patterns)

    wait_for(f"media in {patterns}", have_media, PATIENCE)


def show(title, ours, theirs):
    """By how many segments the recorder has more than streamlink."""
    mine, its = segments(ours), segments(theirs)
    print(f"{title:40} recorder {mine:5.2f} segments {complaints(ours)}, streamlink {its:5.2f} {complaints(theirs)}", flush=True)
    return mine - its


def segments(files):
    """Seconds of pictures, by their number."""
    return sum(len(packets(file)) for file in files) / FRAMES_A_SEGMENT


def packets(file):
    command = ["ffprobe", "-v", "quiet", "-select_streams", "v", "-show_entries", "packet=pts", "-of", "csv=p=0"]
    return subprocess.run(command + [file], capture_output=True, text=True).stdout.split()


def complaints(files):
    decode = ["ffmpeg", "-v", "error", "-nostdin", "-i"]
    said = [subprocess.run(decode + [file, "-f", "null", "-"], capture_output=True, text=True).stderr for file in files]
    lines = sum(len(text.splitlines()) for text in said)
    return f"({len(files)} files, {lines} complaints)"


if __name__ == "__main__":
    main()
