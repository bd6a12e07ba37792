#!/usr/bin/env python3
"""Shows the whole product in half a minute: records two live streams, stops the recorder with SIGTERM, and prints
the shutdown as a timeline, as Prometheus would see it, and as files that play.

usage: demo.py DIRECTORY_OF_THE_BINARIES        leaves nothing running; the recordings stay in a temporary directory
"""
import contextlib
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from harness import command_stream, duration, fetch, free_port, hls_stream, wait_for, write_configuration

TOOLS = pathlib.Path(__file__).resolve().parent
SECONDS_OF_RECORDING = 8
SHOWN_METRICS = (
    "recorder_up", "recorder_state{", "recordings_active", "recordings_finished_total", "shutdowns_total",
    "last_shutdown_duration_seconds", "last_shutdown_grace_used_ratio", "last_shutdown_abandoned",
    "last_shutdown_phase_duration_seconds", "finalize_errors_total",
)


def headline(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def configuration(base, playlist, port):
    picture = (
        "ffmpeg -hide_banner -loglevel error -re -f lavfi -i testsrc2=size=320x180:rate=25 "
        "-c:v libx264 -preset ultrafast -threads 1 -g 25 -f mpegts -"
    )
    return write_configuration(
        base, [hls_stream("live", playlist), command_stream("camera", *picture.split())], name="demo",
        web={"listen_address": [f"127.0.0.1:{port}"]})


def show_live(api, exporter):
    for _ in range(SECONDS_OF_RECORDING):
        time.sleep(1)
        recordings = json.loads(fetch(f"{api}/api/recording/active"))
        state = json.loads(fetch(f"{exporter}/health"))["status"]
        streams = "   ".join(f"{r['stream']} {r['duration']:2d} s {r['bytes'] / 1e6:5.2f} MB" for r in recordings)
        print(f"  health {state}   {streams or 'nothing yet'}", flush=True)


def show_timeline(dump):
    lifecycle = dump["history"][-1]["lifecycle"]
    phases = lifecycle["phases"]
    total = sum(p.get("duration_seconds", 0) for p in phases)
    before = 0.0
    for phase in phases:
        taken = phase.get("duration_seconds", 0)
        start = round(40 * before / total)
        width = max(1, round(40 * (before + taken) / total) - start)
        bar = " " * start + "█" * width
        print(f"  {phase['phase']:12} {bar:41} {taken * 1000:9.2f} ms  {phase['state']}")
        before += taken
    grace = lifecycle["grace_period_seconds"]
    print(f"  {'in all':12} {'':41} {total * 1000:9.2f} ms  of {grace:g} s granted: {dump['verdict']}")


def show_metrics(page):
    for line in page.splitlines():
        name = line.removeprefix("streamvault_")
        if name != line and name.startswith(SHOWN_METRICS) and not line.endswith(" 0"):
            print(f"  {line}")


def show_files(directory):
    for path in sorted(directory.glob("*.ts")):
        subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "null", "-"], check=True)
        print(f"  {path}  {duration(path):.1f} s, decodes without an error")


def main():
    binaries = pathlib.Path(sys.argv[1])
    base = pathlib.Path(tempfile.mkdtemp(prefix="streamvault-demo-"))
    with contextlib.ExitStack() as cleanup:

        def start(*command, **options):
            process = subprocess.Popen(command, **options)
            cleanup.callback(process.wait)
            cleanup.callback(process.terminate)
            return process

        headline("A live stream starts")
        stream = start(TOOLS / "live_hls.sh", base / "source", stdout=subprocess.PIPE, text=True)
        playlist = stream.stdout.readline().strip()
        print(f"  {playlist}")

        ports = free_port(), free_port()
        api, exporter = (f"http://127.0.0.1:{port}" for port in ports)
        config = configuration(base, playlist, ports[0])
        start(
            binaries / "streamvault-exporter", "--telemetry-dir", base / "telemetry",
            "--web.listen-address", f"127.0.0.1:{ports[1]}", "--linger.max", "0s", stdout=subprocess.DEVNULL,
        )
        recorder = start(binaries / "streamvault-recorder", "--config", config)
        for url in (f"{exporter}/-/ready", f"{api}/health"):
            wait_for(url, lambda: fetch(url))

        headline(f"Recording: {api}/api/recording/active, {exporter}/metrics")
        show_live(api, exporter)

        headline("SIGTERM")
        recorder.send_signal(signal.SIGTERM)
        status = recorder.wait(timeout=60)
        print(f"  exit status {status}")

        headline("The shutdown, from the telemetry segment")
        segment = base / "telemetry" / "demo.telemetry"
        dump = subprocess.run([binaries / "streamvault-exporter", "dump", segment], check=True, capture_output=True)
        show_timeline(json.loads(dump.stdout))

        headline("What Prometheus sees now, though the recorder is gone")
        show_metrics(fetch(f"{exporter}/metrics"))

    headline("The recordings")
    show_files(base / "recordings")


if __name__ == "__main__":
    main()
