#!/usr/bin/env python3
"""Records streams of tools/hls_origin.py with the recorder and with streamlink at the same time, and compares.

usage: beside_streamlink.py RECORDER

For each stream: the segments of one second that each has, and what ffmpeg says to each file. Fails when the recorder has fewer.
"""
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STREAMS = [("ts", "calm"), ("ts", "rough"), ("aes", "rough"), ("fmp4", "rough"), ("ts", "gaps"), ("ts", "reset")]
TOOLS = Path(__file__).parent


def main():
    base = Path(tempfile.mkdtemp(prefix="beside-"))
    origin = subprocess.Popen([TOOLS / "hls_origin.py", base / "media"], stdout=subprocess.PIPE, text=True)
    try:
        compare(base, origin.stdout.readline().strip())
    finally:
        origin.send_signal(signal.SIGTERM)
        origin.wait()
        shutil.rmtree(base, ignore_errors=True)


def compare(base, address):
    streams = [
        {"name": f"{form}-{faults}", "source": {"type": "hls", "url": f"{address}/{form}/{faults}/live.m3u8"}}
        for form, faults in STREAMS
    ]
    (base / "telemetry").mkdir()
    config = base / "recorder.json5"
    config.write_text(
        json.dumps(
            {
                "recordings_dir": str(base / "recordings"),
                "telemetry_dir": str(base / "telemetry"),
                "web": {"listen_address": "127.0.0.1:0"},
                "streams": streams,
            }
        )
    )
    others = [
        subprocess.Popen(
            ["streamlink", "--loglevel", "error", "--hls-live-edge", "99999", "-o", base / f"{stream['name']}.out"]
            + [stream["source"]["url"], "best"]
        )
        for stream in streams
    ]
    recorder = subprocess.Popen([sys.argv[1], "--config", config], stdout=subprocess.DEVNULL)
    for other in others:
        try:
            other.wait(90)
        except subprocess.TimeoutExpired:
            other.send_signal(signal.SIGTERM)
            other.wait(10)
    time.sleep(2)
    recorder.send_signal(signal.SIGTERM)
    recorder.wait(60)
    worse = False
    for stream in streams:
        name = stream["name"]
        ours = sorted((base / "recordings").glob(f"{name}-2*"))
        theirs = [file for file in [base / f"{name}.out"] if file.exists()]
        mine, its = segments(ours), segments(theirs)
        worse |= mine < its
        print(f"{name:12} recorder {mine:5.1f} segments {complaints(ours)}, streamlink {its:5.1f} {complaints(theirs)}")
    if worse:
        raise SystemExit("streamlink has more")


def segments(files):
    """Seconds of pictures, by their number."""
    return sum(len(packets(file)) for file in files) / 25


def packets(file):
    command = ["ffprobe", "-v", "quiet", "-select_streams", "v", "-show_entries", "packet=pts", "-of", "csv=p=0"]
    return subprocess.run(command + [file], capture_output=True, text=True).stdout.split()


def complaints(files):
    decode = ["ffmpeg", "-v", "error", "-nostdin", "-i"]
    said = [subprocess.run(decode + [file, "-f", "null", "-"], capture_output=True, text=True).stderr for file in files]
    lines = sum(len(text.splitlines()) for text in said)
    return f"({len(files)} files, {lines} complaints)"


main()
