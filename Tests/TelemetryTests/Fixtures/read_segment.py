#!/usr/bin/env python3
"""Reads a telemetry segment and prints it as JSON: written from docs/segment.md alone.

Usage: read_segment.py FILE
"""

import fcntl
import json
import os
import struct
import sys
import time
import zlib

PARTS = ["words", "lifecycle", "families", "series", "recordings", "history"]
SMALLEST_STRIDE = dict(words=8, lifecycle=1104, families=680, series=184, recordings=400, history=1168)
KINDS = {1: "counter", 2: "gauge", 3: "histogram", 4: "info", 5: "stateset"}
STATES = {1: "starting", 2: "recording", 3: "draining", 4: "stopping", 5: "stopped"}
PHASE_STATES = {0: "pending", 1: "running", 2: "ok", 3: "error", 4: "timeout"}
ENDS = {1: "clean", 2: "degraded", 3: "killed", 4: "crashed"}
BOUNDS = [
    n * 1_000_000
    for n in (
        1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 15000, 20000, 25000, 30000,
        45000, 60000, 90000, 120000,
    )
]
EIGHTHS = [
    4503599627370496, 4911210218475899, 5355712719992597, 5840446135085607, 6369051672525772, 6945500098633947,
    7574121564787628, 8259638134547590,
]
MODULUS = 1 << 64


class Damaged(Exception):
    pass


class Fields:
    def __init__(self, data, position=0):
        self.data, self.position = data, position

    def take(self, layout):
        values = struct.unpack_from("<" + layout, self.data, self.position)
        self.position += struct.calcsize("<" + layout)
        return values if len(values) > 1 else values[0]

    def text(self, width):
        return self.take(f"{width}s").split(b"\0")[0].decode("utf-8", "replace")

    def strings(self, count, width):
        raw, position, values = self.take(f"{width}s"), 0, []
        for _ in range(count):
            length = raw[position]
            values.append(raw[position + 1 : position + 1 + length].decode("utf-8", "replace"))
            position += 1 + length
        return values


def header(data):
    if data[:8] != b"SVTELEM\0":
        raise Damaged("not a segment")
    fields = Fields(data, 8)
    major, _minor, _size, file_size = fields.take("HHIQ")
    if major != 1:
        raise Damaged("unknown version")
    if struct.unpack_from("<Q", data, 504)[0] != zlib.crc32(data[:504]):
        raise Damaged("header")
    run_id, boot_id, boot, wall, interval, history = fields.take("16s16sQQQQ")
    identity = dict(
        name=fields.text(64),
        version=fields.text(64),
        run_id=run_id.hex(),
        boot_id=boot_id.hex(),
        started_boot=boot,
        started_wall=wall,
        heartbeat_interval=interval,
    )
    parts = {}
    for part in PARTS:
        offset, stride, count, copies = fields.take("QIIQ")
        if stride < SMALLEST_STRIDE[part] or offset + stride * count * copies > file_size:
            raise Damaged("header")
        parts[part] = (offset, stride, count, copies)
    return identity, parts, history, file_size


def record(data, part, slot):
    """The fields of the newest complete copy; None if it was never written."""
    offset, stride, _count, copies = part
    found, damaged = [], 0
    for copy in range(copies):
        start = offset + (slot * copies + copy) * stride
        raw = data[start : start + stride]
        generation, checksum = struct.unpack("<Q", raw[:8])[0], struct.unpack("<Q", raw[-8:])[0]
        if generation == 0 and checksum == 0:
            continue
        if generation > 0 and checksum == zlib.crc32(raw[:-8]):
            found.append((generation, raw[8:-8]))
        else:
            damaged += 1
    if found:
        return Fields(max(found, key=lambda one: one[0])[1])
    if damaged == copies:
        raise Damaged("record")
    return None


def lifecycle(fields):
    state, signal, requested_boot, requested_wall, grace, deadline, ended_boot, ended_wall, status, count = (
        fields.take("IIQQQQQQiI")
    )
    phases = []
    for _ in range(16):
        name = fields.text(32)
        phase_state, _zero, budget, started, ended = fields.take("IIQQQ")
        phases.append(
            dict(name=name, state=PHASE_STATES[phase_state], budget=budget, started=started, ended=ended)
        )
    return dict(
        state=STATES[state],
        signal=signal,
        requested_boot=requested_boot,
        requested_wall=requested_wall,
        grace_period=grace,
        deadline=deadline,
        ended_boot=ended_boot,
        ended_wall=ended_wall,
        exit_status=status,
        phases=phases[:count],
    )


def family(fields):
    kind, encoding, labels, bounds, schema, lowest, highest, _zero, scale = fields.take("BBBBBbbBQ")
    name, help_text, unit = fields.text(72), fields.text(200), fields.text(16)
    label_names = fields.strings(labels, 104)
    return dict(
        name=name,
        help=help_text,
        kind=KINDS[kind],
        encoding=["integer", "double"][encoding],
        scale=scale,
        unit=unit,
        labels=label_names,
        bounds=[fields.take("Q") for _ in range(bounds)],
        exponential=[schema - 1, lowest, highest] if bounds and schema else None,
    )


def exponential_bounds(schema, lowest, highest, scale):
    for i in range(lowest << schema, (highest << schema) + 1):
        product = EIGHTHS[(i % (1 << schema)) << (3 - schema)] * scale
        power = i >> schema
        yield (product << power if power >= 0 else product >> -power) >> 52


def cell_bounds(one):
    exponential = exponential_bounds(*one["exponential"], one["scale"]) if one["exponential"] else []
    return sorted({*one["bounds"], *exponential})


def cells(one):
    return len(cell_bounds(one)) + 2 if one["kind"] == "histogram" else 1


class Segment:
    def __init__(self, path):
        with open(path, "rb") as file:
            # A read lock, asked for before reading: only a write lock, the owner's, is in the way.
            request = struct.pack("@hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, request)
            self.owned = struct.unpack_from("@h", answer)[0] != fcntl.F_UNLCK
            for _ in range(8):
                # Through a descriptor without a buffer, so that each read is of now.
                self.identity, self.parts, history, size = header(os.pread(file.fileno(), 512, 0))
                before = self.read_words(file, 1)[0]
                data = os.pread(file.fileno(), size, 0)
                self.words = self.read_words(file, self.parts["words"][2])
                if before == self.words[0]:
                    break
        self.lifecycle = lifecycle(record(data, self.parts["lifecycle"], 0))
        self.read_families(data)
        self.read_recordings(data)
        self.history = [self.past(record(data, self.parts["history"], slot)) for slot in range(history)]

    def read_words(self, file, count):
        return list(struct.unpack(f"<{count}Q", os.pread(file.fileno(), count * 8, self.parts["words"][0])))

    def slots(self, data, part):
        for slot in range(self.parts[part][2]):
            fields = record(data, self.parts[part], slot)
            if fields:
                yield slot, fields

    def read_families(self, data):
        by_slot = {slot: family(fields) for slot, fields in self.slots(data, "families")}
        self.families = list(by_slot.values())
        self.series, self.created = {}, {}
        for _slot, fields in self.slots(data, "series"):
            slot, word, retired, count, created = fields.take("IIIIQ")
            values = tuple(fields.strings(count, 144))
            if not retired and slot in by_slot:
                self.series.setdefault((by_slot[slot]["name"], values), word)
                self.created.setdefault((by_slot[slot]["name"], values), created)

    def read_recordings(self, data):
        self.recordings, self.ended = [], [0, 0, 0]
        for _slot, fields in self.slots(data, "recordings"):
            state, word, *ended = fields.take("IIQQQ")
            self.ended = [a + b for a, b in zip(self.ended, ended)]
            number, boot, wall = fields.take("QQQ")
            container, stream, path = fields.text(8), fields.text(64), fields.text(256)
            if state:
                one = dict(id=number, stream=stream, path=path, container=container)
                one.update(state={1: "recording", 2: "finalizing"}[state], started_boot=boot)
                one.update(started_wall=wall, word=word)
                self.recordings.append(one)

    @staticmethod
    def past(fields):
        run_id, boot, wall, seen, end, abandoned = fields.take("16sQQQII")
        fields.take("16s")
        past = dict(run_id=run_id.hex(), started_boot=boot, started_wall=wall, last_seen=seen)
        past.update(end=ENDS[end], abandoned=abandoned, lifecycle=lifecycle(fields))
        return past

    # What follows from the records.

    def last_sign(self):
        return max(self.words[1], self.identity["started_boot"])

    def verdict(self):
        state = self.lifecycle["state"]
        if state == "stopped":
            fine = all(one["state"] in ("pending", "ok") for one in self.lifecycle["phases"])
            return "clean" if fine and not self.recordings else "degraded"
        if state == "stopping":
            return "alive" if self.owned else "killed"
        if not self.owned:
            return "crashed"
        with open("/proc/sys/kernel/random/boot_id") as file:
            same = file.read().strip().replace("-", "") == self.identity["boot_id"]
        silence = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - self.last_sign()
        patience = max(10 * 10**9, 3 * self.identity["heartbeat_interval"])
        return "hung" if same and silence > patience else "alive"

    def own_past(self):
        verdict = self.verdict()
        if verdict in ("alive", "hung"):
            return None
        stamps = [self.last_sign(), self.lifecycle["requested_boot"], self.lifecycle["ended_boot"]]
        for phase in self.lifecycle["phases"]:
            stamps += [phase["started"], phase["ended"]]
        return dict(
            run_id=self.identity["run_id"],
            started_boot=self.identity["started_boot"],
            started_wall=self.identity["started_wall"],
            last_seen=max(stamps),
            end=verdict,
            abandoned=len(self.recordings),
            lifecycle=self.lifecycle,
        )

    def derive(self):
        life, verdict, past = self.lifecycle, self.verdict(), self.own_past()
        stopping = past is None and life["state"] == "stopping"
        self.set("recorder_up", int(self.owned))
        self.set("recorder_start_time_seconds", self.identity["started_wall"])
        self.set("recorder_heartbeat_timestamp_seconds", wall_of(self.identity, self.last_sign()))
        shown = {"clean": "stopped", "degraded": "stopped", "alive": life["state"]}.get(verdict, verdict)
        self.choose("recorder_state", shown)
        self.add("recorder_runs_total", 1)
        self.add("telemetry_refused_declarations_total", self.words[2])
        for state in ("recording", "finalizing"):
            count = sum(one["state"] == state for one in self.recordings) if past is None else 0
            self.set("recordings_active" if state == "recording" else "recordings_finalizing", count)
        self.add("recordings_started_total", sum(self.ended) + len(self.recordings))
        for result, count in zip(("completed", "interrupted", "failed"), self.ended):
            self.add("recordings_finished_total", count, result)
        self.add("recordings_finished_total", past["abandoned"] if past else 0, "abandoned")
        self.set("shutdown_in_progress", int(stopping))
        self.set("shutdown_grace_period_seconds", life["grace_period"] if stopping else 0)
        self.set("shutdown_start_timestamp_seconds", life["requested_wall"] if stopping else 0)
        deadline = wall_of(self.identity, life["deadline"]) if stopping and life["deadline"] else 0
        self.set("shutdown_deadline_timestamp_seconds", deadline)
        for phase in life["phases"]:
            self.derive_phase(phase, past)
        if past:
            self.count_end(past)
        last = past or (self.history[-1] if self.history else None)
        if last:
            self.derive_last(last)

    def derive_phase(self, phase, past):
        name, state = phase["name"], phase["state"]
        self.set("shutdown_phase_active", int(past is None and state == "running"), name)
        took = max(0, phase["ended"] - phase["started"])
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        elapsed = {"pending": 0, "running": max(0, now - phase["started"])}.get(state, took)
        self.set("shutdown_phase_elapsed_seconds", elapsed if past is None else 0, name)
        self.set("shutdown_phase_budget_seconds", phase["budget"], name)
        if state in ("ok", "error", "timeout"):
            self.observe("shutdown_phase_duration_seconds", took, name)
            self.add("shutdown_phases_total", 1, name, state)

    def count_end(self, past):
        end, life = past["end"], past["lifecycle"]
        if end == "crashed":
            self.add("crashes_total", 1)
        else:
            self.add("shutdowns_total", 1, end)
        if end in ("clean", "degraded") and life["requested_boot"]:
            self.observe("shutdown_duration_seconds", duration(past))
        if end == "killed":
            for phase in [one for one in life["phases"] if one["state"] == "running"][:1]:
                self.add("shutdown_phases_total", 1, phase["name"], "killed")

    def derive_last(self, last):
        life = last["lifecycle"]
        self.set("last_shutdown_timestamp_seconds", wall_of(last, life["requested_boot"] or last["last_seen"]))
        self.set("last_shutdown_duration_seconds", duration(last))
        ratio = duration(last) / life["grace_period"] if life["grace_period"] else 0.0
        self.set("last_shutdown_grace_used_ratio", struct.unpack("<Q", struct.pack("<d", ratio))[0])
        self.set("last_shutdown_abandoned_recordings", last["abandoned"])
        self.choose("last_shutdown_outcome", last["end"])
        for name, values in list(self.series):
            if name == "streamvault_last_shutdown_phase_duration_seconds":
                took = 0
                for phase in [one for one in life["phases"] if one["name"] == values[0]][:1]:
                    end = last["last_seen"] if phase["state"] == "running" else phase["ended"]
                    took = 0 if phase["state"] == "pending" else max(0, end - phase["started"])
                self.set("last_shutdown_phase_duration_seconds", took, values[0])

    def cell(self, name, values):
        return self.series.get(("streamvault_" + name, values))

    def set(self, name, value, *values):
        cell = self.cell(name, values)
        if cell is not None:
            self.words[cell] = value

    def add(self, name, value, *values):
        cell = self.cell(name, values)
        if cell is not None:
            self.words[cell] = (self.words[cell] + value) % MODULUS

    def observe(self, name, value, *values):
        cell = self.cell(name, values)
        if cell is not None:
            bounds = sorted({*BOUNDS, *exponential_bounds(3, -10, 10, 10**9)})
            bucket = next((index for index, bound in enumerate(bounds) if value <= bound), len(bounds))
            self.words[cell] += value
            self.words[cell + 1 + bucket] += 1

    def choose(self, name, chosen):
        for family_name, values in list(self.series):
            if family_name == "streamvault_" + name:
                self.set(name, int(values[0] == chosen), *values)

    def all_series(self):
        sizes = {one["name"]: cells(one) for one in self.families}
        for (name, values), word in self.series.items():
            yield dict(
                name=name,
                labels=list(values),
                cells=self.words[word : word + sizes[name]],
                created=self.created[name, values],
            )
        newest = {}
        for one in self.recordings:
            rival = newest.get(one["stream"])
            if not rival or rival["started_boot"] <= one["started_boot"]:
                newest[one["stream"]] = one
        for stream, one in newest.items():
            last_write = max(self.words[one["word"] + 1], one["started_boot"])
            for name, value in (
                ("recording_start_time_seconds", one["started_wall"]),
                ("recording_last_write_timestamp_seconds", wall_of(self.identity, last_write)),
                ("recording_written_bytes", self.words[one["word"]]),
            ):
                if "streamvault_" + name in sizes:
                    yield dict(name="streamvault_" + name, labels=[stream], cells=[value], created=0)

    def json(self):
        self.derive()
        past = self.own_past()
        return dict(
            identity=self.identity,
            owned=self.owned,
            verdict=self.verdict(),
            lifecycle=self.lifecycle,
            families=self.families,
            series=list(self.all_series()),
            recordings=[{k: v for k, v in one.items() if k != "word"} for one in self.recordings],
            ended=self.ended,
            history=(self.history + ([past] if past else []))[-32:],
        )


def wall_of(run, stamp):
    return (run["started_wall"] + stamp - run["started_boot"]) % MODULUS


def duration(past):
    life = past["lifecycle"]
    if not life["requested_boot"]:
        return 0
    return max(0, (life["ended_boot"] or past["last_seen"]) - life["requested_boot"])


if __name__ == "__main__":
    print(json.dumps(Segment(sys.argv[1]).json()))
