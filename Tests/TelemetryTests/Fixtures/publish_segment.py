#!/usr/bin/env python3
"""Publishes a telemetry segment, and waits to be killed: written from docs/segment.md alone.

It has one counter and the lifecycle of a recorder. Usage: publish_segment.py DIRECTORY NAME VALUE
"""

import fcntl
import mmap
import os
import signal
import struct
import sys
import time
import zlib

WORDS, SERIES_WORD = 64, 10
LAYOUT = [  # stride, count, copies
    (8, WORDS, 1), (1104, 1, 2), (680, 4, 2), (184, 4, 2), (400, 1, 2), (1168, 32, 1),
]


def text(value, width):
    return value.encode().ljust(width, b"\0")


def strings(values, width):
    return b"".join(bytes([len(one.encode())]) + one.encode() for one in values).ljust(width, b"\0")


def boot():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def lock(file, kind):
    return struct.pack("@hhqqi4x", kind, os.SEEK_SET, 0, 0, 0)


class Publisher:
    def __init__(self, directory, name):
        provisional, path = f"{directory}/.{name}.telemetry.new", f"{directory}/{name}.telemetry"
        self.file = os.open(provisional, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.fcntl(self.file, fcntl.F_OFD_SETLK, lock(self.file, fcntl.F_WRLCK))
        except BlockingIOError:
            sys.exit("refused: starting")
        if os.path.exists(path) and self.is_owned(path):
            os.unlink(provisional)
            sys.exit("refused: running")
        self.offsets, size = [], 512
        for stride, count, copies in LAYOUT:
            self.offsets.append(size)
            size = (size + stride * count * copies + 63) & ~63
        os.ftruncate(self.file, 0)
        os.posix_fallocate(self.file, 0, size)
        self.memory = mmap.mmap(self.file, size)
        self.words = memoryview(self.memory).cast("Q")  # Assigns a word in one piece.
        self.write_header(name, size)
        self.write(1, 0, self.lifecycle(state=2))
        bounds = bytes(32 * 8)
        self.write(2, 0, struct.pack("<BBBBIQ", 1, 0, 1, 0, 0, 1) + text("test_total", 72)
                   + text("Counted in Python.", 200) + text("", 16) + strings(["origin"], 104) + bounds)
        self.write(3, 0, struct.pack("<IIIIQ", 0, SERIES_WORD, 0, 1, time.time_ns()) + strings(["python"], 144))
        os.rename(provisional, path)

    @staticmethod
    def is_owned(path):
        with open(path, "rb") as file:
            answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, lock(file, fcntl.F_RDLCK))
        return struct.unpack_from("@h", answer)[0] != fcntl.F_UNLCK

    def write_header(self, name, size):
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot_id = bytes.fromhex(file.read().strip().replace("-", ""))
        header = struct.pack("<8sHHIQ", b"SVTELEM\0", 1, 0, 512, size)
        header += os.urandom(16) + boot_id
        header += struct.pack("<QQQQ", boot(), time.time_ns(), 10**9, 0)
        header += text(name, 64) + text("python-1", 64)
        for offset, (stride, count, copies) in zip(self.offsets, LAYOUT):
            header += struct.pack("<QIIQ", offset, stride, count, copies)
        header = header.ljust(504, b"\0")
        self.store(0, header + struct.pack("<Q", zlib.crc32(header)))

    @staticmethod
    def lifecycle(state):
        fields = struct.pack("<IIQQQQQQiI", state, 0, 0, 0, 0, 0, 0, 0, 0, 1)
        return fields + text("recordings", 32) + struct.pack("<IIQQQ", 0, 0, 10**10, 0, 0)

    def word(self, index, value):
        self.words[self.offsets[0] // 8 + index] = value

    def add(self, index, value):
        self.word(index, self.words[self.offsets[0] // 8 + index] + value)

    def store(self, offset, data):
        for index, value in enumerate(struct.unpack(f"<{len(data) // 8}Q", data)):
            self.words[offset // 8 + index] = value

    def write(self, part, slot, fields):
        stride, _count, copies = LAYOUT[part]
        start = self.offsets[part] + slot * copies * stride
        generation = 1 + max(self.words[(start + copy * stride) // 8] for copy in range(copies))
        record = (struct.pack("<Q", generation) + fields).ljust(stride - 8, b"\0")
        self.add(0, 1)
        self.store(start + generation % copies * stride, record + struct.pack("<Q", zlib.crc32(record)))
        self.add(0, 1)


if __name__ == "__main__":
    publisher = Publisher(sys.argv[1], sys.argv[2])
    publisher.word(1, boot())
    publisher.add(SERIES_WORD, int(sys.argv[3]))
    print("running", flush=True)
    while True:
        signal.pause()
