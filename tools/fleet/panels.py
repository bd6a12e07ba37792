"""What the panels of the dashboards ask, asked as Grafana does, and how long Prometheus takes to answer."""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from board import Dashboard  # noqa: E402
from harness import ROOT  # noqa: E402

STEP = 15


def ask(prometheus, query, target, seconds):
    """How many series, and KiB of the answer."""
    expression, now = query.filled("streamvault-0"), time.time()
    if target["instant"]:
        data = prometheus.ask("query", query=expression, time=now)
    else:
        data = prometheus.ask("query_range", query=expression, start=now - seconds, end=now, step=STEP)
    return len(data["result"]), len(json.dumps(data)) / 1024


def ask_all(prometheus, board, panel, seconds):
    """Milliseconds, those of them that Prometheus worked (it scrapes meanwhile, too), series, KiB."""
    start, worked = time.perf_counter(), prometheus.own("process_cpu_seconds_total")[0]
    answers = [ask(prometheus, query, target, seconds)
               for target, query in zip(panel["targets"], board.queries_of(panel), strict=True)]
    worked = prometheus.own("process_cpu_seconds_total")[0] - worked
    return [(time.perf_counter() - start) * 1e3, worked * 1e3, *(sum(column) for column in zip(*answers))]


def show(prometheus, tables, seconds=3600):
    for name in ("fleet", "shutdown", "recorder"):
        board = Dashboard(ROOT / "grafana" / f"streamvault-{name}.json")
        tables.head(f"dashboard {name}", "ms", "CPU ms", "series", "KiB")
        rows = [ask_all(prometheus, board, panel, seconds) for panel in board.charts]
        for panel, row in zip(board.charts, rows):
            tables.row(panel["title"], *row)
        tables.row("all panels", *(sum(column) for column in zip(*rows)))
