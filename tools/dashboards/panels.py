"""Panels of Grafana's classic dashboard model, each as little as a person has to say of it."""

import string

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# What every metric is selected by. Where there is no namespace and no pod, `.*` matches their absence.
FLEET = 'job=~"$job", instance=~"$instance", namespace=~"$namespace", pod=~"$pod"'
ONE = FLEET + ', recorder=~"$recorder"'

GREEN, ORANGE, RED, BLUE, GREY = "green", "orange", "red", "blue", "#8e8e8e"
# Told apart also by those who do not see red and green.
PHASE_COLOURS = {
    "signal": "#8AB8FF",
    "recordings": "#F2CC0C",
    "broadcaster": "#CA95E5",
    "cleanup": "#73BF69",
    "eventsub": "#FF9830",
    "database": "#5794F2",
}
STATE_COLOURS = {
    "starting": BLUE, "recording": GREEN, "draining": "yellow", "stopping": ORANGE, "stopped": GREY,
    "killed": "dark-red", "crashed": RED, "hung": "purple",
}
OUTCOME_COLOURS = {"clean": GREEN, "degraded": ORANGE, "killed": "dark-red", "crashed": RED}


def query(expression, legend="", *, now=False, table=False, heatmap=False):
    """A target; `now` asks for the newest value alone."""
    return {
        "datasource": DATASOURCE,
        "expr": " ".join(expression.split()),
        "legendFormat": legend,
        "instant": now or table,
        "range": not (now or table),
        "format": "table" if table else "heatmap" if heatmap else "time_series",
    }


def counted(selector, *labels):
    """The sum by these labels of what every pod has counted in the time range: exact, in whole numbers.

    `increase` reckons beyond the first and the last sample, and makes up to 2 of the crash of a pod that was scraped twice. So it
    is asked only where a count began anew, and rounded for each pod then, a half downwards.
    """
    by = f" by ({', '.join(labels)}) " if labels else ""
    x = f"{selector}[$__range]"
    return f"sum{by}(floor(increase({x}) + 0.49) and resets({x}) > 0 or max_over_time({x}) - min_over_time({x}))"


def steps(*limits):
    """Thresholds: a colour, then pairs of a value and the colour from there on."""
    first, rest = limits[0], limits[1:]
    return {
        "mode": "absolute",
        "steps": [{"color": first, "value": None}]
        + [{"color": colour, "value": value} for value, colour in zip(rest[::2], rest[1::2])],
    }


def painted(colours):
    """Overrides that give each named series its colour."""
    return [
        named(name, color={"mode": "fixed", "fixedColor": colour}) for name, colour in colours.items()
    ]


def named(name, **properties):
    """What is different about one series or column."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def panel(kind, title, description, targets, *, unit="short", overrides=(), options, **defaults):
    for letter, target in zip(string.ascii_uppercase, targets):
        target["refId"] = letter
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": list(targets),
        "fieldConfig": {
            "defaults": {"unit": unit, "thresholds": steps(GREEN)} | defaults,
            "overrides": list(overrides),
        },
        "options": options,
    }


LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}


def stat(title, description, *targets, shows="value", empty="–", **rest):
    """One big value, or with `shows="name"` the name of the series that is there."""
    options = {
        "reduceOptions": LAST, "textMode": shows, "colorMode": "background", "graphMode": "none",
        "justifyMode": "center", "orientation": "auto",
    }
    rest.setdefault("color", {"mode": "thresholds"})
    return panel("stat", title, description, targets, options=options, noValue=empty, **rest)


def gauge(title, description, *targets, empty="–", **rest):
    options = {
        "reduceOptions": LAST, "showThresholdLabels": False, "showThresholdMarkers": True,
        "orientation": "auto",
    }
    rest.setdefault("color", {"mode": "thresholds"})
    return panel("gauge", title, description, targets, options=options, noValue=empty, **rest)


def bars(title, description, *targets, empty="none", **rest):
    """A bar for each series, of its newest value."""
    options = {
        "reduceOptions": LAST, "orientation": "horizontal", "displayMode": "basic",
        "valueMode": "color", "showUnfilled": True, "minVizHeight": 16, "minVizWidth": 8,
    }
    rest.setdefault("color", {"mode": "thresholds"})
    return panel("bargauge", title, description, targets, options=options, noValue=empty, min=0, **rest)


def lines(title, description, *targets, stacked=False, drawn="line", fill=8, legend=("lastNotNull", "max"), **rest):
    custom = {
        "drawStyle": drawn, "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": fill,
        "showPoints": "auto" if drawn == "line" else "never", "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": list(legend)},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    rest.setdefault("color", {"mode": "palette-classic"})
    rest.setdefault("min", 0)
    return panel("timeseries", title, description, targets, options=options, custom=custom, **rest)


def heatmap(title, description, target, *, unit):
    """How often each bucket of a classic histogram was met, over time."""
    options = {
        "calculate": False,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "scale": "exponential",
                  "fill": "dark-orange", "reverse": False},
        "cellGap": 1,
        "filterValues": {"le": 1e-9},
        "rowsFrame": {"layout": "auto"},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
    }
    return panel("heatmap", title, description, [target], options=options, unit=unit)


def table(title, description, *targets, columns, overrides, sort):
    """One row for each set of labels; `columns` names what is kept, in its order: {field: title}."""
    organize = {
        "includeByName": {field: True for field in columns},
        "indexByName": {field: index for index, field in enumerate(columns)},
        "renameByName": columns,
    }
    made = panel(
        "table", title, description, targets,
        options={"showHeader": True, "cellHeight": "sm", "sortBy": [{"displayName": sort, "desc": True}],
                 "footer": {"show": False, "reducer": ["sum"], "fields": ""}},
        overrides=overrides,
        custom={"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "filterable": True},
        noValue="–",
    )
    made["transformations"] = [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]
    return made
