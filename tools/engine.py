"""The Docker engine, by its command line."""

import json
import subprocess


def docker(*words, check=True):
    """What the command wrote to standard output."""
    run = subprocess.run(["docker", *map(str, words)], capture_output=True, text=True)
    if check and run.returncode != 0:
        raise RuntimeError(f"docker {' '.join(map(str, words))}: {run.stderr.strip()}")
    return run.stdout.strip()


def inspect(name):
    return json.loads(docker("inspect", name))[0]
