"""The reference of all metrics, as the built programs declare them: a recorder that has just started, and its exporter."""

import tempfile

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from harness import fetch, wait_for
from stage import Stage

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
# Label values that a configuration or a process chooses.
OPEN_LABELS = {"recorder", "stream", "version", "handler", "code"}
INTRODUCTION = """\
# Metrics

Made by tools/generate.py from what the programs declare: the help texts are theirs. Every series exists from the start, at 0, so that `increase` sees the first
event. Durations are histograms with classic and, in the protobuf format, native buckets. All that concern a recorder carry the label `recorder`.
"""
SECTIONS = {
    "Recorder": ("streamvault_recorder",),
    "Shutdown": ("streamvault_shutdown", "streamvault_last_shutdown", "streamvault_crashes"),
    "Exporter": ("streamvault_exporter", "process_"),
    "Recordings": ("streamvault_",),  # All that is left.
}
ORDER = ["Recorder", "Shutdown", "Recordings", "Exporter"]


def families():
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(folder, pods=1)
        try:
            pod = stage.pods[0]
            pod.start_exporter("--ingest.socket", f"{folder}/ingest.sock")
            pod.start_recorder()
            wait_for("a recording", lambda: "streamvault_recording_written_bytes" in pod.page(), 30)
            text = fetch(f"http://{pod.address}/metrics", OPEN_METRICS)
        finally:
            stage.processes.end_all()
    return list(text_string_to_metric_families(text))


def labels_of(family):
    """Each label, with its values where they are a closed set."""
    found = {}
    for sample in family.samples:
        for name, value in sample.labels.items():
            if name not in ("recorder", "le"):
                found.setdefault(name, {})[value] = None
    return ", ".join(
        f"`{name}`" if name in OPEN_LABELS else f"`{name}`: {' '.join(f'`{value}`' for value in values)}"
        for name, values in found.items()
    )


def section_of(name):
    return next(title for title, starts in SECTIONS.items() if name.startswith(starts))


def reference():
    rows = {title: [] for title in ORDER}
    for family in families():
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        kind = f"{family.type}, {family.unit}" if family.unit else family.type
        rows[section_of(name)].append(f"| `{name}` | {kind} | {labels_of(family)} | {family.documentation} |")
    text = [INTRODUCTION]
    for title in ORDER:
        text += [f"## {title}\n", "| name | type, unit | labels | |", "|---|---|---|---|", *sorted(rows[title]), ""]
    return "\n".join(text)
