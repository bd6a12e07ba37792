#!/usr/bin/env python3
"""An asyncio program that stops in phases, and publishes them on the exporter's ingest socket (docs/ingest.md).

usage: ingest_asyncio.py SOCKET SECONDS BUDGET     each phase takes so many seconds, and may take BUDGET
"""
import asyncio
import contextlib
import json
import signal
import sys
import uuid

PHASES = ["connections", "upload"]


class Telemetry:
    """A connection that comes back as the same run when the exporter was restarted, and never stands in the way."""

    def __init__(self, path, *introduction):
        self.path, self.introduction, self.writer = path, introduction, None

    def say(self, kind, **fields):
        if self.writer and not self.writer.is_closing():
            self.writer.write(json.dumps({"type": kind, **fields}).encode() + b"\n")

    async def run(self):
        while True:
            try:
                reader, self.writer = await asyncio.open_unix_connection(self.path)
                for kind, fields in self.introduction:
                    self.say(kind, **fields)
                async for line in reader:
                    print("telemetry:", line.decode().strip(), file=sys.stderr)
            except OSError:
                pass
            await asyncio.sleep(0.5)


async def main(path, seconds, budget):
    telemetry = Telemetry(
        path,
        ("hello", dict(name="asyncio", version="1.0", run=str(uuid.uuid4()), heartbeat_interval=1,
                       phases=[dict(name=phase, budget=budget) for phase in PHASES])),
        ("declare", dict(metric="counter", name="demo_ticks_total", help="Turns of the main loop.")),
    )
    connection = asyncio.create_task(telemetry.run())
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    while not stopping.is_set():
        telemetry.say("add", name="demo_ticks_total", value=1)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stopping.wait(), timeout=0.5)

    telemetry.say("shutdown_begin", signal=signal.SIGTERM, grace_period=30)
    for phase in PHASES:
        telemetry.say("phase_begin", phase=phase)
        try:
            await asyncio.wait_for(asyncio.sleep(seconds), timeout=budget)
            telemetry.say("phase_end", outcome="ok")
        except asyncio.TimeoutError:
            telemetry.say("phase_end", outcome="timeout")
    telemetry.say("goodbye", exit_status=0)
    if telemetry.writer:
        await telemetry.writer.drain()
    connection.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
