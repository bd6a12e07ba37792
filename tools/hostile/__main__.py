"""Runs both programs under a hostile origin, hostile clients and neighbours, a changing file system and signals, all at once.

usage: python3 -m hostile [--minutes 5] [--seed N] [--only origin clients neighbours files signals] [--attacks NAME...]

One honest stream must be complete, each scrape and each probe answered, and no program may end. The same seed draws the same
attacks in the same order. Needs root (a network of its own, where addresses that are public elsewhere are on loopback, and a
small disk) and ffmpeg; the programs in .build/debug, or where STREAMVAULT_BIN says.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness import (
    PACKETS, Processes, Report, await_exit, command_stream, hls_stream, program, wait_for, write_configuration,
)
from storm.sources import Origin, Sample

from . import honest, neighbours, surroundings
from .attacks import NAMED, Diary
from .table import Figures, print_table

INSIDE = "STREAMVAULT_HOSTILE_NETWORK"
PUBLIC = "11.0.0.1"  # A public address for whoever is not in this network.
EXPORTER, RECORDER, ORIGIN, CANARY = 9847, 8000, 9100, 9999
USER = 10001  # Not root, so that permissions mean something.
HOSTILE_STREAMS = 8
TOKEN = "the-token-of-the-holder"
GRACE = 20
KINDS = ["origin", "clients", "neighbours", "files", "signals"]
# MiB, as k8s/ grants them.
LIMITS = {"exporter": 64, "honest": 1024, "cramped": 1024}


class World:
    """Two recorders and an exporter on one telemetry directory, and all that is done to them."""

    recorder_names = ["honest", "cramped"]

    def __init__(self, folder, seconds, seed, kinds):
        self.folder, self.seconds, self.seed, self.kinds = folder, seconds, seed, kinds
        self.processes, self.programs = Processes(), {}
        self.telemetry_lock = threading.Lock()
        self.over = threading.Event()
        self.telemetry = self.make_directory(folder / "run" / "telemetry")
        self.recordings = self.make_directory(folder / "recordings")
        self.ingest = self.make_directory(folder / "ingest") / "socket"
        self.cramped = self.make_directory(folder / "cramped")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=8m,uid={USER},gid={USER}", "none", str(self.cramped)], check=True)
        self.diaries = [folder / f"diary-{kind}" for kind in ("origin", "clients", "here")]
        for diary in self.diaries:
            diary.touch()
        self.canary = honest.Canary(CANARY)
        self.ends = []  # (time, program, status): programs that ended before they were told to.
        self.figures = {}

    def make_directory(self, path):
        path.mkdir(parents=True, exist_ok=True)
        for one in (path.parent, path):
            if one != self.folder:
                os.chown(one, USER, USER)
        return path

    def running(self):
        return [process.pid for process in self.programs.values() if process.poll() is None]

    # The programs under test.

    def prepare(self):
        sample = Sample(self.folder)
        self.origin = Origin(self.folder, sample, int(self.seconds) + 240, self.processes)
        (self.folder / "token").write_text(TOKEN)
        os.chown(self.folder / "token", USER, USER)
        (self.folder / "token").chmod(0o600)
        (self.folder / "packets.ts").write_bytes(PACKETS)
        steady = ["sh", "-c", 'while cat "$0"; do sleep 0.2; done', self.folder / "packets.ts"]
        streams = [hls_stream("honest", self.origin.url("honest")), command_stream("wanted", *steady, record="on_demand")]
        streams += [hls_stream(f"hostile-{number}", f"http://{PUBLIC}:{ORIGIN}/hostile-{number}/x.m3u8")
                    for number in range(HOSTILE_STREAMS)]
        self.configure("honest", self.recordings, RECORDER, streams, bearer_token_file=str(self.folder / "token"))
        self.configure("cramped", self.cramped, RECORDER + 1, [command_stream("steady", *steady)])
        if "origin" in self.kinds:
            self.start_attacker("hostile.origin", PUBLIC, ORIGIN, self.seed, self.diaries[0], EXPORTER, CANARY)
        self.start("exporter")
        for name in self.recorder_names:
            self.start(name)

    def configure(self, name, recordings, port, streams, **web):
        write_configuration(
            self.folder, streams, f"{name}.json5", name=name, recordings_dir=str(recordings), telemetry_dir=str(self.telemetry),
            sync_interval="1s", shutdown={"grace_period": f"{GRACE}s"}, web={"listen_address": [f"127.0.0.1:{port}"], **web})

    def start_attacker(self, module, *words):
        return self.processes.start([sys.executable, "-m", module, *words], stdout=subprocess.DEVNULL)

    def start(self, name):
        if name == "exporter":
            command = [program("exporter"), f"--telemetry-dir={self.telemetry}", f"--web.listen-address=127.0.0.1:{EXPORTER}",
                       f"--ingest.socket={self.ingest}", "--linger.max=5s"]
        else:
            command = [program("recorder"), "--config", str(self.folder / f"{name}.json5")]
        with open(self.folder / f"{name}.log", "ab") as log:
            self.programs[name] = self.processes.start(
                command, stdout=log, stderr=log, user=USER, group=USER, extra_groups=[], start_new_session=True)
        self.figures.setdefault(name, Figures(name)).watch(self.programs[name].pid)

    # What happens to them.

    def attack(self, deck, tool):
        """Runs the attacks of a deck, one after the other."""
        rnd = random.Random(f"{self.seed}/{deck.kind}")
        diary = Diary(self.diaries[2])
        for body in deck.draws(rnd):
            if self.over.is_set():
                return
            used = tool(self, rnd, rnd.uniform(0.5, 2.5))
            with diary.entry(deck.kind, body):
                try:
                    body(used)
                finally:
                    used.close()

    def look_after(self):
        """Notes programs that end, and starts them again, so that the rest can be tried."""
        while not self.over.wait(0.2):
            for name, process in list(self.programs.items()):
                self.figures[name].sample()
                if process.poll() is not None:
                    self.ends.append((time.time(), name, process.returncode))
                    self.start(name)

    def play(self):
        self.page = honest.Page("honest")
        clients = honest.clients(EXPORTER, RECORDER, self.page, TOKEN)
        wait_for("a recording of the honest stream", lambda: list(self.recordings.glob("honest-*")), 60)
        wait_for("a scrape", lambda: not any(self.first_problem(client) for client in clients), 60)
        decks = [(neighbours.deck, neighbours.Neighbour), (surroundings.files, surroundings.Surroundings),
                 (surroundings.signals, surroundings.Surroundings)]
        threads = [threading.Thread(target=client.run, args=(self.over,)) for client in clients]
        threads += [threading.Thread(target=self.attack, args=(deck, tool)) for deck, tool in decks if deck.kind in self.kinds]
        threads.append(threading.Thread(target=self.look_after))
        if "clients" in self.kinds:
            for port in (EXPORTER, RECORDER):
                self.start_attacker("hostile.clients", self.seed, self.diaries[1], self.seconds, port)
        for thread in threads:
            thread.start()
        self.over.wait(self.seconds)
        self.over.set()
        for thread in threads:
            thread.join()
        return clients

    @staticmethod
    def first_problem(client):
        try:
            return client.accept(*client.ask())
        except OSError as error:
            client.drop()
            return str(error)

    def stop(self):
        """Ends all as an orchestrator does; {program: (status, seconds)}."""
        statuses = {}
        for name in [*self.recorder_names, "exporter"]:
            process, began = self.programs[name], time.monotonic()
            process.send_signal(signal.SIGTERM)
            try:
                status = await_exit(process, GRACE + 10)
            except TimeoutError:
                process.kill()
                status = "SIGKILL"
            statuses[name] = (status, time.monotonic() - began)
        return statuses

    def close(self):
        self.over.set()
        self.processes.end_all()
        subprocess.run(["umount", str(self.cramped)], check=False)

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def log_end(self, name):
        """The last lines of a log, for a report."""
        return "\n".join(line[:300] for line in self.log(name).splitlines()[-12:])


def judge(world, clients, statuses):
    """All that must hold."""
    report = Report()
    for name, status in sorted({(name, status) for _, name, status in world.ends}):
        moments = [f"{moment - world.began:.1f}" for moment, *end in world.ends if end == [name, status]]
        report.expect(False, f"{name} ended with {status}, {len(moments)} times, {', '.join(moments[:5])} s after the start")
    for client in clients:
        report.expect(client.times, f"{client.what}: never answered")
        first = "; ".join(f"after {at - world.began:.1f} s: {problem[:200]} ({took:.2f} s)" for at, took, problem in client.failures[:5])
        report.expect(not client.failures, f"{client.what}: {len(client.failures)} of {len(client.failures) + len(client.times)} failed: {first}")
    files = sorted(path for path in world.recordings.glob("honest-*") if path.suffix in (".ts", ".part"))
    count, problem = honest.compare_stream(files, world.origin, "honest")
    report.expect(problem is None, f"honest stream: {problem} ({len(files)} files)")
    report.expect(len(files) == 1 or world.ends, f"honest stream: {len(files)} files")
    report.expect(not world.canary.requests, f"{len(world.canary.requests)} requests to loopback, where a public origin had named it")
    for name, (status, seconds) in statuses.items():
        # 1 says that a recording was not finalized, which is true of one whose file was deleted.
        is_fine = status == 0 or (status == 1 and name == "honest" and "files" in world.kinds)
        report.expect(is_fine, f"{name}: exit status {status} after {seconds:.1f} s: {world.log_end(name)}")
        peak = world.figures[name].peak
        report.expect(peak <= LIMITS[name], f"{name}: {peak:.0f} MiB, of {LIMITS[name]}")
    return report, count


def run(options):
    with tempfile.TemporaryDirectory(prefix="streamvault-hostile-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        world = World(folder, options.minutes * 60, options.seed, options.only)
        try:
            world.prepare()
            world.began = time.time()
            clients = world.play()
            statuses = world.stop()
            report, count = judge(world, clients, statuses)
            print_table(world, clients, statuses, count)
            if report.problems:
                kept = Path(tempfile.mkdtemp(prefix="streamvault-hostile-kept-"))
                for path in [*folder.glob("*.log"), *world.diaries]:
                    shutil.copy(path, kept)
                print(f"logs and diaries are kept: {kept}", file=sys.stderr)
        finally:
            world.close()
    report.end("hostile")


def enter_network():
    """Begins anew in a network and a mount namespace of its own, whose loopback has the public address."""
    if os.environ.get(INSIDE):
        for command in (["ip", "link", "set", "lo", "up"], ["ip", "address", "add", f"{PUBLIC}/32", "dev", "lo"]):
            subprocess.run(command, check=True)
        return
    os.environ |= {INSIDE: "1", "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, "-m", "hostile", *sys.argv[1:]])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("HOSTILE_MINUTES") or 5))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("HOSTILE_SEED") or random.randrange(1 << 32)))
    parser.add_argument("--attacks", nargs="+", help="only these, by the names of their functions")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    return parser.parse_args()


def main():
    options = arguments()
    if not os.environ.get(INSIDE):
        os.environ["HOSTILE_SEED"] = str(options.seed)
    if options.attacks:
        os.environ[NAMED] = " ".join(options.attacks)
    enter_network()
    print(f"hostile: {options.minutes:g} min, seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run(options)


if __name__ == "__main__":
    main()
