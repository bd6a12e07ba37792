"""A Grafana dashboard as data: its queries, what they name, and the rules of grafana/dashboard-linter."""

import json
import re

SELECTOR = ['job=~"$job"', 'instance=~"$instance"']
UNITS = {"s", "short", "percentunit", "bool_yes_no", "dateTimeFromNow", "bytes", "Bps"}
FROM_PROMETHEUS = {"job", "instance", "namespace", "pod"}


class Query:
    """A PromQL expression, where it stands, and the names in it."""

    def __init__(self, place, expression, legend=""):
        self.place = place
        self.expression = expression
        self.legend_labels = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", legend))
        # Metric, selector: every metric of the dashboards is selected from.
        self.selectors = re.findall(r"\b(streamvault_\w+)\{(.*?)\}", expression)
        self.grouping = {
            label
            for labels in re.findall(r"\b(?:by|on|ignoring|without) \((.*?)\)", expression)
            for label in re.split(r",\s*", labels)
        }

    def matchers(self, selector):
        return re.findall(r'(\w+)(=~|!=|!~|=)"(.*?)"', selector)

    def filled(self, recorder):
        """The expression as Grafana sends it."""
        text = self.expression.replace("$__range", "1h").replace("$__rate_interval", "1m")
        text = text.replace("$recorder", recorder)
        text = text.replace("$job", ".+").replace("$instance", ".+").replace("$phase", "recordings")
        return text.replace("$namespace", ".*").replace("$pod", ".*")


class Dashboard:
    def __init__(self, path):
        self.data = json.loads(path.read_text())
        self.variables = {v["name"]: v for v in self.data["templating"]["list"]}
        rows = self.data["panels"]
        self.panels = rows + [inner for row in rows for inner in row.get("panels", [])]
        self.charts = [p for p in self.panels if p["type"] != "row"]

    def queries_of(self, panel):
        for target in panel["targets"]:
            yield Query(panel["title"], target["expr"], target["legendFormat"])

    def queries(self):
        for panel in self.charts:
            yield from self.queries_of(panel)
        for note in self.data["annotations"]["list"]:
            yield Query(note["name"], note["expr"], note["textFormat"])

    def series_of_variables(self):
        """The selectors inside label_values(selector, label), with that label."""
        for name, variable in self.variables.items():
            if variable["type"] == "query":
                selector, label = re.fullmatch(
                    r"label_values\((.*), (\w+)\)", variable["query"]
                ).groups()
                yield name, selector, label


def lint(board, expect):
    """The rules of dashboard-linter --strict, and ours about identity and layout."""
    data, variables = board.data, board.variables
    expect(39 <= data["schemaVersion"] <= 42, "schemaVersion is not 39 to 42")
    expect(data.get("uid") and data.get("title"), "no uid or title")
    expect(data["editable"] is False, "is editable")
    expect(variables["datasource"]["type"] == "datasource", "no data source variable")
    expect(variables["datasource"]["query"] == "prometheus", "not a Prometheus data source")
    expect(variables["datasource"]["label"] == "Data source", "label of the data source")
    for name, variable in variables.items():
        if variable["type"] == "query":
            expect(variable["refresh"] == 2, f"${name} is not refreshed with the time range")
            expect(variable["datasource"]["uid"] == "${datasource}", f"${name}: data source")
    for name in ("job", "instance"):
        variable = variables[name]
        expect(variable["label"] == name.title(), f"${name}: label")
        expect(variable["multi"] and variable["allValue"] == ".+", f"${name}: multi, allValue .+")
    for panel in board.charts:
        lint_panel(panel, expect)
    for query in board.queries():
        lint_query(query, expect)
    lint_layout(board.panels, expect)


def lint_panel(panel, expect):
    title = panel.get("title")
    expect(title and panel.get("description"), f"panel {panel['id']}: no title or description")
    expect(panel["datasource"]["uid"] == "${datasource}", f"{title}: data source")
    expect(panel["fieldConfig"]["defaults"].get("unit") in UNITS, f"{title}: unit")
    expect(panel.get("targets"), f"{title}: no target")
    letters = [target["refId"] for target in panel["targets"]]
    expect(len(letters) == len(set(letters)), f"{title}: two targets of one refId")
    for target in panel["targets"]:
        expect(target["datasource"]["uid"] == "${datasource}", f"{title}: target's data source")


def lint_query(query, expect):
    text, place = query.expression, query.place
    expect(query.selectors, f"{place}: no metric with a selector")
    for metric, selector in query.selectors:
        for matcher in SELECTOR:
            expect(matcher in selector, f"{place}: {metric} without {matcher}")
    for metric in re.findall(r"\b(\w+_total)\b", text):
        aggregated = re.search(rf"\b(rate|irate|increase)\({metric}\{{[^}}]*\}}\[", text)
        expect(aggregated, f"{place}: {metric} outside rate, irate and increase")
    for window in re.findall(r"\bi?rate\([^\[]*\[(.*?)\]", text):
        expect(window == "$__rate_interval", f"{place}: rate over {window}")


def lint_layout(panels, expect):
    ids = [panel["id"] for panel in panels]
    expect(len(ids) == len(set(ids)), "two panels of one id")
    titles = [panel["title"] for panel in panels if panel["type"] != "row"]
    expect(len(titles) == len(set(titles)), "two panels of one title")
    taken = {}
    for panel in panels:
        box = panel["gridPos"]
        expect(box["x"] + box["w"] <= 24, f"{panel['title']}: wider than the page")
        for x in range(box["x"], box["x"] + box["w"]):
            for y in range(box["y"], box["y"] + box["h"]):
                other = taken.setdefault((x, y), panel["title"])
                if other != panel["title"]:
                    return expect(False, f"{panel['title']} lies over {other}")


def check_names(board, families, expect):
    """Every metric, label and label value that the dashboard names is on the exporter's page.

    `families` maps a sample's name to the label sets that the page has of it.
    """
    for query in board.queries():
        expect_known(query, families, expect)
    for name, selector, label in board.series_of_variables():
        full = selector if "{" in selector else selector + "{}"
        expect_known(Query(f"${name}", full, f"{{{{{label}}}}}"), families, expect)


def expect_known(query, families, expect):
    place, labels = query.place, set(FROM_PROMETHEUS)
    named = set(re.findall(r"\b(streamvault_\w+)", query.expression))
    known = {name for name, _ in query.selectors}
    for metric, selector in query.selectors:
        expect(metric in families, f"{place}: no metric {metric}")
        own = {key for series in families.get(metric, []) for key in series}
        labels |= own
        for label, operator, value in query.matchers(selector):
            expect(label in own | FROM_PROMETHEUS, f"{place}: {metric} has no label {label}")
            if "$" in value or operator not in ("=", "!="):
                continue
            values = {series.get(label) for series in families.get(metric, [])}
            expect(value in values, f"{place}: {metric} has no {label}={value}")
    for label in (query.grouping | query.legend_labels):
        expect(label in labels, f"{place}: no label {label}")
    expect(named <= known | labels, f"{place}: {named - known - labels} without a selector")


def check_colours(boards, families, expect):
    """Every value of a closed set has a colour, and no colour is for a value that is not there."""
    panels = {panel["title"]: panel for board in boards for panel in board.charts}

    def values(metric, label):
        return {series[label] for series in families[metric]}

    phases = values("streamvault_shutdown_phase_active", "phase")
    states = values("streamvault_recorder_state", "streamvault_recorder_state")
    outcomes = values("streamvault_last_shutdown_outcome", "streamvault_last_shutdown_outcome")
    for title, wanted in {
        "Recorder": states,
        "Phase": phases,
        "Running shutdown by phase": phases | {"grace period"},
        "Last shutdown by phase": phases,
        "Last outcome": outcomes,
        "Ended runs in the time range": outcomes,
        "Phase duration, 95th percentile": phases,
        "Recorders by state": states,
        "Ended runs of all recorders": outcomes,
        "Last shutdown of all recorders, 95th percentile": phases,
    }.items():
        painted = {override["matcher"]["options"] for override in panels[title]["fieldConfig"]["overrides"]}
        expect(painted == wanted, f"{title}: colours for {sorted(painted)}, not {sorted(wanted)}")
