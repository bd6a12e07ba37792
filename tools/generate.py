#!/usr/bin/env python3
"""Writes what is derived from another file of the repository, or with --check says what is out of date.

grafana/*.json          from tools/dashboards
k8s/monitoring/prometheusrule.yaml
                        from prometheus/*-rules.yml and *-alerts.yml
docs/metrics.md         from what the built programs declare
"""

import json
import sys

import yaml

from dashboards import DASHBOARDS
from metrics_reference import reference
from harness import ROOT

RULES = ["streamvault-rules.yml", "streamvault-alerts.yml"]


def dashboards():
    for name, make in DASHBOARDS.items():
        yield ROOT / "grafana" / name, json.dumps(make(), indent=2, ensure_ascii=False) + "\n"


def prometheus_rule():
    """The rules as the Prometheus Operator takes them, word for word."""
    lines = [
        "# Made by tools/generate.py from prometheus/: change the rules there.",
        "apiVersion: monitoring.coreos.com/v1",
        "kind: PrometheusRule",
        "metadata:",
        "  name: streamvault",
        "  labels:",
        "    app.kubernetes.io/name: streamvault",
        "spec:",
        "  groups:",
    ]
    for name in RULES:
        text = (ROOT / "prometheus" / name).read_text()
        body = text.split("groups:\n", 1)[1].rstrip("\n")
        lines += [f"  {line}" if line else "" for line in body.split("\n")]
    text = "\n".join(lines) + "\n"
    yaml.safe_load(text)
    yield ROOT / "k8s" / "monitoring" / "prometheusrule.yaml", text


def metrics_reference():
    yield ROOT / "docs" / "metrics.md", reference()


def main():
    stale = []
    for path, text in [*dashboards(), *prometheus_rule(), *metrics_reference()]:
        if not path.exists() or path.read_text() != text:
            stale.append(str(path.relative_to(ROOT)))
            if "--check" not in sys.argv:
                path.write_text(text)
    if "--check" in sys.argv and stale:
        sys.exit(f"not what tools/generate.py makes: {', '.join(stale)}")
    print("generated:", ", ".join(stale) or "all as it was")


if __name__ == "__main__":
    main()
