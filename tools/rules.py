"""The rules in prometheus/ as data: what they ask for, and what must be there beside them."""

import re
import subprocess
import tempfile
from pathlib import Path

import yaml

from board import Query
from harness import ROOT

FOLDER = ROOT / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
FILES = [FOLDER / "streamvault-rules.yml", FOLDER / "streamvault-alerts.yml"]
TESTS = [path.with_suffix(".test.yml") for path in FILES]
SEVERITIES = {"critical", "warning"}


def loaded():
    return [
        rule for path in FILES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]
    ]


def queries():
    """The expressions, each metric with a selector if only an empty one; what a rule records is not asked for."""
    for rule in loaded():
        measured = re.sub(r"\w+:streamvault_\w+:\w+(\{.*?\})?", "", rule["expr"])
        expression = re.sub(r"(?<![\w{,])(streamvault_\w+)(?![\w{])", r"\1{}", measured)
        yield Query(rule.get("alert") or rule["record"], expression)


def lint(expect):
    check_with_promtool(["check", "config"], FOLDER / "prometheus.yml", expect)
    for path in FILES:
        check_with_promtool(["check", "rules"], path, expect)
    for path in TESTS:
        check_with_promtool(["test", "rules"], path, expect)
    alerts = {rule["alert"]: rule for rule in loaded() if "alert" in rule}
    for name, rule in alerts.items():
        lint_alert(name, rule, expect)
    pages = {path.stem for path in RUNBOOKS.glob("*.md")}
    expect(pages == alerts.keys(), f"runbooks and alerts differ: {pages ^ alerts.keys()}")
    for rule in loaded():
        if "record" in rule:
            expect(re.fullmatch(r"\w+:streamvault_\w+:\w+", rule["record"]), f"{rule['record']}: not level:metric:operation")
    lint_tests(alerts, expect)
    check_examples(expect)


def check_examples(expect):
    """Prometheus takes what docs/fleet.md tells to put into its files."""
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "fleet.md").read_text(), re.S)
    expect(examples, "docs/fleet.md: no examples")
    for example in map(yaml.safe_load, examples):
        if isinstance(example, list):
            kind, example = "rules", {"groups": [{"name": "example", "rules": example}]}
        else:
            kind = "config"
        if "metric_relabel_configs" in example:
            example = {"scrape_configs": [{"job_name": "example"} | example]}
        for job in example.get("scrape_configs", []):
            job.pop("kubernetes_sd_configs", None)  # Debian's Prometheus does not know it.
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            yaml.safe_dump(example, file)
            file.flush()
            check_with_promtool(["check", kind], Path(file.name), expect)


def check_with_promtool(command, path, expect):
    run = subprocess.run(["promtool", *command, str(path)], capture_output=True, text=True)
    expect(run.returncode == 0, f"promtool {' '.join(command)} {path.name}: {run.stdout}{run.stderr}")


def lint_alert(name, rule, expect):
    expect(re.fullmatch(r"StreamVault([A-Z][a-z]+)+", name), f"{name}: not in CamelCase")
    expect(rule["labels"]["severity"] in SEVERITIES, f"{name}: severity {rule['labels']['severity']}")
    notes = rule["annotations"]
    expect({"summary", "description", "runbook_url"} <= notes.keys(), f"{name}: annotations")
    expect(notes["summary"].endswith("."), f"{name}: the summary is no sentence")
    expect(notes["runbook_url"] == f"docs/runbooks/{name}.md", f"{name}: runbook_url")


def lint_tests(alerts, expect):
    """Each alert is seen firing and silent by a test."""
    fires, silent = set(), set()
    for test in yaml.safe_load(TESTS[1].read_text())["tests"]:
        for case in test["alert_rule_test"]:
            (fires if case.get("exp_alerts") else silent).add(case["alertname"])
    expect(fires == alerts.keys(), f"never seen firing: {alerts.keys() - fires}")
    expect(silent == alerts.keys(), f"never seen silent: {alerts.keys() - silent}")
