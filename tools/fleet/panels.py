"""What the panels of the dashboards ask, asked as Grafana does, and how long Prometheus takes to answer."""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from board import Dashboard  # noqa: E402
from programs import ROOT  # noqa: E402

STEP = 15


def ask(prometheus, query, target, seconds):
    """Milliseconds, how many series, and KiB of the answer."""
    expression = query.filled("streamvault-0")
    now, start = time.time(), time.perf_counter()
    if target["instant"]:
        data = prometheus.ask("query", query=expression, time=now)
    else:
        data = prometheus.ask("query_range", query=expression, start=now - seconds, end=now, step=STEP)
    took = time.perf_counter() - start
    return took * 1e3, len(data["result"]), len(json.dumps(data)) / 1024


def show(prometheus, tables, seconds=3600):
    for name in ("fleet", "shutdown", "recorder"):
        board = Dashboard(ROOT / "grafana" / f"streamvault-{name}.json")
        tables.head(f"dashboard {name}", "ms", "series", "KiB")
        total = 0
        for panel in board.charts:
            asked = [ask(prometheus, query, target, seconds)
                     for target, query in zip(panel["targets"], board.queries_of(panel), strict=True)]
            sums = [sum(column) for column in zip(*asked)]
            total += sums[0]
            tables.row(panel["title"], *sums)
        tables.row("all panels", total)
