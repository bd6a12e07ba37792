"""The media of the gauntlet: one programme in every container, each packet of it recognizable by its hash."""

import json
import subprocess
from pathlib import Path

SEGMENTS = 16  # Of one second each.
KEY = bytes(range(16))


class Media:
    """Segments by number, and the packets that each contains."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._encode("a", "160x90", 1)
        self._encode("b", "192x108", 2)
        self._packets = {}

    def _encode(self, name, size, seed):
        """Noise as sound: of a sine some packets would be alike."""
        place = self.directory / name
        place.mkdir()
        command = ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25"]
        command += ["-f", "lavfi", "-i", f"anoisesrc=color=pink:seed={seed}:sample_rate=48000:amplitude=0.3"]
        command += ["-t", str(SEGMENTS), "-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-g", "25"]
        command += ["-sc_threshold", "0", "-bf", "0", "-c:a", "aac", "-b:a", "64k", "-flags", "+global_header"]
        command += ["-map", "0:v", "-map", "1:a", "-f", "tee"]
        hls = "f=hls:hls_time=1:hls_list_size=0:hls_playlist_type=vod"
        outputs = []
        for kind, select in (("av", ""), ("video", ":select=v"), ("audio", ":select=a")):
            (place / kind).mkdir()
            outputs.append(f"[{hls}{select}:hls_segment_filename={place}/{kind}/s%d.ts]{place}/{kind}/ts.m3u8")
            fragments = f"{hls}{select}:hls_segment_type=fmp4:hls_segment_filename={place}/{kind}/s%d.m4s"
            outputs.append(f"[{fragments}]{place}/{kind}/fmp4.m3u8")
        subprocess.run(command + ["|".join(outputs)], check=True)
        (place / "packed").mkdir()
        for number in range(SEGMENTS):
            source = place / "audio" / f"s{number}.ts"
            target = place / "packed" / f"s{number}.aac"
            subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", source, "-c", "copy", "-f", "adts", target], check=True)
            target.write_bytes(time_stamp(90_000 * (number + 1)) + target.read_bytes())

    def ts(self, number, encoding="a", kind="av"):
        return (self.directory / encoding / kind / f"s{number}.ts").read_bytes()

    def m4s(self, number, encoding="a", kind="av"):
        return (self.directory / encoding / kind / f"s{number}.m4s").read_bytes()

    def init(self, encoding="a", kind="av"):
        return (self.directory / encoding / kind / "init.mp4").read_bytes()

    def packed(self, number, encoding="a"):
        return (self.directory / encoding / "packed" / f"s{number}.aac").read_bytes()

    def sent(self, form):
        """{hash: (segment, "video" or "audio")} of all segments in a form: ts, fmp4 or packed, of both encodings."""
        if form not in self._packets:
            found = {}
            for index, encoding in enumerate("ab"):
                for number in range(SEGMENTS):
                    for digest, kind in packets(self._file(form, number, encoding)):
                        found[digest] = (index * SEGMENTS + number, kind)
            self._packets[form] = found
        return self._packets[form]

    def _file(self, form, number, encoding):
        if form == "packed":
            return self.directory / encoding / "packed" / f"s{number}.aac"
        if form == "ts":
            return self.directory / encoding / "av" / f"s{number}.ts"
        whole = self.directory / "probed.mp4"
        whole.write_bytes(self.init(encoding) + self.m4s(number, encoding))
        return whole


def time_stamp(ticks):
    """The ID3 tag in front of a segment of packed audio (RFC 8216, section 3.4)."""
    owner = b"com.apple.streaming.transportStreamTimestamp\0" + ticks.to_bytes(8, "big")
    frame = b"PRIV" + len(owner).to_bytes(4, "big") + b"\0\0" + owner
    return b"ID3\4\0\0" + bytes([0, 0, len(frame) >> 7, len(frame) & 127]) + frame


def encrypted(body, vector, key=KEY, pads=True):
    command = ["openssl", "enc", "-aes-128-cbc", "-K", key.hex(), "-iv", vector.to_bytes(16, "big").hex()]
    command += [] if pads else ["-nopad"]
    return subprocess.run(command, input=body, capture_output=True, check=True).stdout


def packets(file):
    """(hash, "video" or "audio") of each packet that ffprobe finds, in the order of the file."""
    command = ["ffprobe", "-v", "quiet", "-of", "json", "-show_packets", "-show_data_hash", "MD5"]
    command += ["-show_entries", "packet=codec_type,data_hash", str(file)]
    output = subprocess.run(command, capture_output=True, text=True).stdout
    try:
        found = json.loads(output).get("packets", [])
    except ValueError:
        return []
    return [(packet["data_hash"], packet["codec_type"]) for packet in found if packet.get("data_hash")]


def decoding_errors(file):
    command = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-i", str(file), "-f", "null", "-"]
    return len(subprocess.run(command, capture_output=True, text=True).stderr.splitlines())
