"""All recorders together, for up to a thousand of them."""

from .dashboard import FLEET, dashboard
from .panels import (
    GREEN, ORANGE, OUTCOME_COLOURS, PHASE_COLOURS, RED, STATE_COLOURS, bars, counted, lines, named, painted, query,
    steps, table,
)

ROWS = 100  # Of a table.
POD = "job, namespace, pod, instance, recorder"


def last(metric, matchers=""):
    """The value of a `last_shutdown_…` metric of every pod, also of those that are gone."""
    return f"last_over_time(streamvault_last_shutdown_{metric}{{{FLEET}{matchers}}}[$__range])"


STOPPED = f"({last('timestamp_seconds')} > 0)"
NEWEST = f"topk({ROWS}, {STOPPED})"
BAD = last("outcome", ', streamvault_last_shutdown_outcome!="clean"') + " == 1"
NEWEST_BAD = f"topk({ROWS}, {STOPPED} and on (job, instance, recorder) ({BAD}))"


def p95(phase):
    lasted = last("phase_duration_seconds", f', phase="{phase}"')
    return f"quantile by (phase) (0.95, {lasted} > 0 and on (job, instance, recorder) {STOPPED})"


def now():
    return [(9,
        lines(
            "Recorders by state", "Number of recorders in each state. A rollout appears as a dent in the green area.",
            query(f"sum by (streamvault_recorder_state) (streamvault_recorder_state{{{FLEET}}}) > 0", "{{streamvault_recorder_state}}"),
            stacked=True, fill=60, decimals=0, overrides=painted(STATE_COLOURS),
        ))]


def over_time():
    return [
        (8,
            bars(
                "Ended runs of all recorders", "In the time range: shutdowns by outcome, and runs that died without a shutdown.",
                query(counted(f"streamvault_shutdowns_total{{{FLEET}}}", "outcome"), "{{outcome}}", now=True),
                query(counted(f"streamvault_crashes_total{{{FLEET}}}"), "crashed", now=True),
                empty="not scraped", decimals=0, overrides=painted(OUTCOME_COLOURS),
            ),
            bars(
                "Last shutdown of all recorders, 95th percentile",
                "Duration of each phase in the last shutdown of each recorder, including deleted pods.",
                *(query(p95(phase), "{{phase}}", now=True) for phase in PHASE_COLOURS),
                unit="s", decimals=3, empty="no shutdown", overrides=painted(PHASE_COLOURS),
            )),
        (10, ends(
            "Latest runs that did not end cleanly",
            f"The latest {ROWS} recorders whose last run was degraded, killed or crashed, including deleted pods. The instance links to "
            "the exporter's page.",
            NEWEST_BAD,
        )),
        (10, ends(
            "Latest run of every recorder",
            "The last run of each recorder, including deleted pods: time of the stop request, outcome, duration of its shutdown, "
            f"slowest phase. A crash has no shutdown. At most the latest {ROWS}.",
            NEWEST,
        )),
    ]


def ends(title, description, shown):
    """The last end of each recorder that is `shown`, as a row of a table."""
    def of_shown(metric, condition=""):
        return f"{last(metric)} {condition} and on (job, instance, recorder) {shown}"

    columns = {
        "recorder": "Recorder", "pod": "Pod", "instance": "Instance", "Value #A": "Stop requested",
        "streamvault_last_shutdown_outcome": "Outcome", "Value #C": "Took", "Value #D": "Grace used",
        "phase": "Slowest phase", "Value #E": "Phase took", "Value #F": "Abandoned",
    }
    outcomes = [{"type": "value", "options": {
        name: {"index": index, "text": name, "color": colour}
        for index, (name, colour) in enumerate(OUTCOME_COLOURS.items())
    }}]
    coloured = {"type": "color-text"}
    return table(
        title, description,
        query(f"1000 * max by ({POD}) ({shown})", table=True),
        query(f"max by ({POD}, streamvault_last_shutdown_outcome) ({of_shown('outcome', '== 1')})", table=True),
        query(f"max by ({POD}) ({of_shown('duration_seconds', '> 0')})", table=True),
        query(f"max by ({POD}) ({of_shown('grace_used_ratio', '> 0')})", table=True),
        query(f"topk by ({POD}) (1, max by ({POD}, phase) ({of_shown('phase_duration_seconds', '> 0')}))", table=True),
        query(f"max by ({POD}) ({of_shown('abandoned_recordings')})", table=True),
        columns=columns, sort="Stop requested",
        overrides=[
            named("Stop requested", unit="dateTimeFromNow"),
            named("Outcome", mappings=outcomes, **{"custom.cellOptions": coloured}),
            named("Took", unit="s", decimals=2),
            named("Grace used", unit="percentunit", decimals=0, thresholds=steps(GREEN, 0.7, ORANGE, 0.9, RED),
                  **{"custom.cellOptions": coloured}),
            named("Phase took", unit="s", decimals=2),
            named("Abandoned", decimals=0, thresholds=steps(GREEN, 1, RED), **{"custom.cellOptions": coloured}),
            named("Instance", links=[{"title": "The exporter's page", "url": "http://${__value.text}/", "targetBlank": True}]),
            named("Recorder", links=[{
                "title": "This recorder's shutdowns",
                "url": "/d/streamvault-shutdown?${datasource:queryparam}&var-recorder=${__value.text}&${__url_time_range}",
            }]),
        ],
    )


def fleet_dashboard():
    return dashboard(
        "streamvault-fleet", "StreamVault fleet",
        "All StreamVault recorders: their states, the progress of a rollout, and how the last run of each ended.",
        refresh="1m", since="3h",
        rows=[("Now", now()), ("Shutdowns", over_time())],
    )
