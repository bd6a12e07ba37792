"""What is recorded: a small picture, from programs that count what they deliver, and as a live HLS stream."""

import subprocess
import sys
from pathlib import Path

from harness import ffmpeg, picture

HERE = Path(__file__).resolve().parent
COMMAND_STREAMS = ["gate", "yard"]
HLS_STREAM = "roof"
STREAMS = [*COMMAND_STREAMS, HLS_STREAM]
SAMPLE_SECONDS = 180


class Sample:
    """The picture as a transport stream; a second of it begins with a key frame."""

    def __init__(self, folder):
        self.path = folder / "sample.ts"
        picture(self.path, SAMPLE_SECONDS, rate=10, options=["-bf", 0])
        self.content = self.path.read_bytes()
        self.rate = len(self.content) // SAMPLE_SECONDS

    def starts_with(self, media):
        return self.content.startswith(media)


class Origin:
    """The same picture as a live HLS stream, for all lanes; it says what it has delivered to whom."""

    def __init__(self, folder, sample, seconds, processes):
        media = folder / "hls"
        media.mkdir()
        ffmpeg("-stream_loop", -1, "-i", sample.path, "-t", seconds, "-c", "copy",
               "-f", "hls", "-hls_time", 1, "-hls_list_size", 5, "-hls_segment_filename", media / "%d.ts", media / "list.m3u8")
        self.media = media
        self.deliveries = folder / "deliveries"
        self.deliveries.touch()
        process = processes.start(
            [sys.executable, "-I", HERE / "origin.py", media, self.deliveries],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.address = process.stdout.readline().strip()

    def url(self, viewer):
        return f"{self.address}/{viewer}/live.m3u8"

    def delivered(self, viewer, until):
        """Segments that were sent to a viewer before that time, in their order."""
        lines = (line.split() for line in self.deliveries.read_text().splitlines())
        return sorted({int(number) for who, number, moment in lines if who == viewer and float(moment) < until})

    def segment(self, number):
        return (self.media / f"{number}.ts").read_bytes()
