"""A whole dashboard: its variables, its links, and where its panels stand."""

from .panels import DATASOURCE, FLEET, ONE

WIDTH = 24


def dashboard(uid, title, description, *, rows, variables=(), annotations=(), refresh, since):
    """`rows` are (title, lines of panels), a line being (height, panel, panel, …)."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["streamvault"],
        "schemaVersion": 41,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": refresh,
        "time": {"from": f"now-{since}", "to": "now"},
        "timezone": "",
        "fiscalYearStartMonth": 0,
        "timepicker": {},
        "links": [{
            "title": "StreamVault", "type": "dashboards", "tags": ["streamvault"], "asDropdown": False,
            "includeVars": True, "keepTime": True, "targetBlank": False, "icon": "dashboard", "url": "",
            "tooltip": "",
        }],
        "annotations": {"list": list(annotations)},
        "templating": {"list": common_variables() + list(variables)},
        "panels": list(placed(rows)),
    }


def placed(rows):
    """The panels with their ids and places, line after line."""
    number, top = 1, 0
    for title, content in rows:
        yield {
            "id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
            "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1},
        }
        number, top = number + 1, top + 1
        for height, *panels in content:
            left, shares = 0, sum(panel.get("share", 1) for panel in panels)
            for panel in panels:
                width = WIDTH * panel.pop("share", 1) // shares
                yield {"id": number, "gridPos": {"x": left, "y": top, "w": width, "h": height}} | panel
                number, left = number + 1, left + width
            top += height


def wide(share, panel):
    """The panel with `share` times the width of its neighbours."""
    return panel | {"share": share}


def common_variables():
    up = "streamvault_recorder_up"
    return [
        {
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
            "refresh": 1, "hide": 0, "multi": False, "includeAll": False, "regex": "", "options": [],
            "current": {},
        },
        variable("job", "Job", f"label_values({up}, job)", every=".+"),
        variable("namespace", "Namespace", f'label_values({up}{{job=~"$job"}}, namespace)', every=".*"),
        variable("pod", "Pod", f'label_values({up}{{job=~"$job", namespace=~"$namespace"}}, pod)', every=".*"),
        variable("instance", "Instance",
                 f'label_values({up}{{job=~"$job", namespace=~"$namespace", pod=~"$pod"}}, instance)', every=".+"),
    ]


def variable(name, label, asks, *, every):
    """A choice among the values of a label, several at a time; `every` stands for all of them."""
    return {
        "name": name, "label": label, "type": "query", "datasource": DATASOURCE, "query": asks,
        "definition": asks, "refresh": 2, "sort": 1, "multi": True, "includeAll": True, "hide": 0,
        "options": [], "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "allValue": every,
    }


def choice(name, label, asks):
    """A choice of exactly one value of a label."""
    return variable(name, label, asks, every=None) | {"multi": False, "includeAll": False, "current": {}}


RECORDER = choice("recorder", "Recorder", f"label_values(streamvault_recorder_up{{{FLEET}}}, recorder)")


def annotation(name, colour, expression, text):
    """A mark at each time, in milliseconds, that is the value of `expression`."""
    return {
        "name": name, "datasource": DATASOURCE, "enable": True, "hide": False, "iconColor": colour,
        "expr": " ".join(expression.split()), "useValueForTime": True, "titleFormat": name, "textFormat": text,
    }


# A shutdown that ends between two scrapes is never seen to run: the end of the run tells of it, too.
SHUTDOWNS = [
    annotation("Shutdown requested", "orange",
               f"1000 * max by (recorder) (streamvault_shutdown_start_timestamp_seconds{{{ONE}}} > 0)", "{{recorder}}"),
    annotation("Run ended", "red",
               f"1000 * max by (recorder, streamvault_last_shutdown_outcome) "
               f"((streamvault_last_shutdown_outcome{{{ONE}}} == 1) * on (job, instance, recorder) group_left () "
               f"(streamvault_last_shutdown_timestamp_seconds{{{ONE}}} > 0))",
               "{{recorder}}: {{streamvault_last_shutdown_outcome}}"),
]
