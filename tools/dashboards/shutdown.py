"""Every shutdown: the current one, the latest one, and the trend over weeks."""

from .dashboard import RECORDER, SHUTDOWNS, choice, dashboard, wide
from .panels import (
    GREEN, ONE, ORANGE, OUTCOME_COLOURS, PHASE_COLOURS, RED, STATE_COLOURS, bars, counted, gauge, heatmap, lines,
    named, painted, query, stat, steps,
)

PHASES = list(PHASE_COLOURS)
# The newest run that is over, also of a pod that is gone.
NEWEST = f"topk(1, last_over_time(streamvault_last_shutdown_timestamp_seconds{{{ONE}}}[$__range]) > 0)"


def last(metric, matchers=""):
    """The value of a `last_shutdown_…` metric at the newest run that is over."""
    return f"last_over_time(streamvault_last_shutdown_{metric}{{{ONE}{matchers}}}[$__range])"


def of_newest(expression):
    return f"{expression} and on (job, instance) {NEWEST}"


def lasted(metric, matchers=""):
    """What the newest run took to shut down; nothing if it crashed, since it did not shut down then."""
    return of_newest(f"{last(metric, matchers)} > 0")


def by_phase(expression, **how):
    """One query a phase, so that their order is that of the shutdown."""
    return [query(expression(phase), "{{phase}}", **how) for phase in PHASES]


def p95(phase):
    bucket = f'streamvault_shutdown_phase_duration_seconds_bucket{{{ONE}, phase="{phase}"}}'
    return f"(histogram_quantile(0.95, sum by (phase, le) (increase({bucket}[$__range]))) >= 0)"


def running():
    return [
        (4,
            wide(5, stat(
                "Recorder", "State of the recorder. Empty if none of its pods is being scraped.",
                query(f"max by (streamvault_recorder_state) (streamvault_recorder_state{{{ONE}}} == 1)",
                      "{{streamvault_recorder_state}}", now=True),
                shows="name", empty="not scraped", overrides=painted(STATE_COLOURS),
            )),
            wide(4, stat(
                "Shutdown in progress", "Whether a shutdown has been requested and is not complete.",
                query(f"max(streamvault_shutdown_in_progress{{{ONE}}})", "in progress", now=True),
                unit="bool_yes_no", empty="not scraped", thresholds=steps(GREEN, 1, ORANGE),
            )),
            wide(5, stat(
                "Phase", "The current phase.",
                query(f"max by (phase) (streamvault_shutdown_phase_active{{{ONE}}} == 1)", "{{phase}}", now=True),
                shows="name", empty="none", overrides=painted(PHASE_COLOURS),
            )),
            wide(5, stat(
                "Time to the deadline", "Time until the grace period is over. Below zero the recorder may be killed at any moment.",
                query(f"max(streamvault_shutdown_deadline_timestamp_seconds{{{ONE}}} > 0) - time()", "left", now=True),
                unit="s", decimals=1, empty="no shutdown", thresholds=steps(RED, 5, ORANGE, 15, GREEN),
            )),
            wide(5, stat(
                "Open recordings", "Recordings whose files are being written or finalized.",
                query(f"sum(streamvault_recordings_active{{{ONE}}})", "active", now=True),
                query(f"sum(streamvault_recordings_finalizing{{{ONE}}})", "finalizing", now=True),
                empty="not scraped",
            ))),
        (9,
            wide(14, lines(
                "Running shutdown by phase",
                "Time spent in each phase, stacked: the height is the time since the request. Dashed: the grace period, after "
                "which the recorder receives SIGKILL.",
                *by_phase(lambda phase: f'max by (phase) (streamvault_shutdown_phase_elapsed_seconds{{{ONE}, phase="{phase}"}})'),
                query(f"max(streamvault_shutdown_grace_period_seconds{{{ONE}}} > 0)", "grace period"),
                unit="s", stacked=True, fill=60, legend=["max"],
                overrides=painted(PHASE_COLOURS) + [named(
                    "grace period", color={"mode": "fixed", "fixedColor": "red"},
                    **{"custom.stacking": {"mode": "none", "group": "A"}, "custom.fillOpacity": 0,
                       "custom.lineWidth": 2, "custom.lineStyle": {"fill": "dash", "dash": [10, 10]}},
                )],
            )),
            wide(10, bars(
                "Last shutdown by phase",
                "Duration of each phase of the latest shutdown in the time range, including deleted pods. The phase in "
                "which a process was killed ends with its last heartbeat.",
                *by_phase(lambda phase: lasted("phase_duration_seconds", f', phase="{phase}"'), now=True),
                unit="s", decimals=3, empty="no shutdown", overrides=painted(PHASE_COLOURS),
            ))),
        (4,
            wide(5, stat(
                "Last outcome",
                "How the latest completed run ended. clean: every phase ok; degraded: a phase failed or exceeded its budget, or a start failed; "
                "killed: the process died during the shutdown; crashed: it died without one.",
                query(of_newest(last("outcome") + " == 1"), "{{streamvault_last_shutdown_outcome}}", now=True),
                shows="name", empty="no shutdown", overrides=painted(OUTCOME_COLOURS),
            )),
            wide(5, stat(
                "Last shutdown", "Time of the stop request of the latest completed run; if it crashed, its last heartbeat.",
                query(f"1000 * max({last('timestamp_seconds')} > 0)", "when", now=True),
                unit="dateTimeFromNow", empty="no shutdown",
            )),
            wide(5, stat(
                "Last duration", "Time from the request to the end of the latest shutdown.",
                query(lasted("duration_seconds"), "duration", now=True),
                unit="s", decimals=2, empty="no shutdown",
            )),
            wide(5, gauge(
                "Grace period used", "Share of the grace period used by the latest shutdown. At 100 % the container runtime sends SIGKILL.",
                query(lasted("grace_used_ratio"), "used", now=True),
                unit="percentunit", min=0, max=1, decimals=0, empty="no shutdown", thresholds=steps(GREEN, 0.7, ORANGE, 0.9, RED),
            )),
            wide(4, stat(
                "Abandoned recordings", "Recordings that were open when the latest completed run died.",
                query(of_newest(last("abandoned_recordings")), "abandoned", now=True),
                empty="no shutdown", thresholds=steps(GREEN, 1, RED),
            ))),
    ]


def over_time():
    window = f"{{{ONE}}}[$__rate_interval]"
    return [
        (8,
            bars(
                "Ended runs in the time range", "Shutdowns by outcome, and runs that died without a shutdown.",
                query(counted(f"streamvault_shutdowns_total{{{ONE}}}", "outcome"), "{{outcome}}", now=True),
                query(counted(f"streamvault_crashes_total{{{ONE}}}"), "crashed", now=True),
                empty="not scraped", decimals=0, overrides=painted(OUTCOME_COLOURS),
            ),
            bars(
                "Phase duration, 95th percentile",
                "Of all phases that ended in the time range.",
                *by_phase(p95, now=True),
                unit="s", decimals=3, empty="no shutdown", overrides=painted(PHASE_COLOURS),
            ),
            bars(
                "95th percentile against the budget", "A phase that reaches 100 % of its budget is abandoned.",
                *by_phase(lambda phase: f"{p95(phase)} / on (phase) max by (phase) "
                          f'(last_over_time(streamvault_shutdown_phase_budget_seconds{{{ONE}, phase="{phase}"}}[$__range]))', now=True),
                unit="percentunit", max=1, decimals=0, empty="no shutdown", thresholds=steps(GREEN, 0.7, ORANGE, 0.9, RED),
            )),
        (8,
            bars(
                "Phases with errors", "error: the phase failed; timeout: it exceeded its budget; killed: the process died during it.",
                query(counted(f'streamvault_shutdown_phases_total{{{ONE}, outcome!="ok"}}', "phase", "outcome") + " > 0",
                      "{{phase}}: {{outcome}}", now=True),
                decimals=0, thresholds=steps(ORANGE),
            ),
            bars(
                "Finalize errors", "Files that could not be finalized, by reason.",
                query(counted(f"streamvault_finalize_errors_total{{{ONE}}}", "reason") + " > 0", "{{reason}}", now=True),
                decimals=0, thresholds=steps(RED),
            )),
        (9,
            heatmap(
                "Duration of one phase", "Durations of the phase selected above; darker cells contain more shutdowns.",
                query(f'sum by (le) (increase(streamvault_shutdown_phase_duration_seconds_bucket{{{ONE}, phase="$phase"}}[$__rate_interval]))',
                      "{{le}}", heatmap=True),
                unit="s",
            ),
            lines(
                "Grace period used over time", "Of the last shutdown of each recorder. The line is the threshold of the alert.",
                query(f"max by (recorder) (streamvault_last_shutdown_grace_used_ratio{{{ONE}}} > 0)", "{{recorder}}"),
                unit="percentunit", max=1, thresholds=steps("transparent", 0.8, RED),
            )),
        (8,
            lines(
                "Recordings abandoned and recovered",
                "Recordings that were open when a run died, and the results of their recovery at the next start.",
                query(f'sum(increase(streamvault_recordings_finished_total{{{ONE}, result="abandoned"}}[$__rate_interval]))', "abandoned"),
                query(f"sum by (result) (increase(streamvault_recovered_recordings_total{window}))", "{{result}}"),
                drawn="bars", fill=80, stacked=True, decimals=0,
                overrides=painted({"abandoned": RED, "published": GREEN, "truncated": ORANGE, "discarded": "dark-red"}),
            ),
            lines(
                "Finalize errors over time", "Files that could not be finalized, by reason.",
                query(f"sum by (reason) (increase(streamvault_finalize_errors_total{window})) > 0", "{{reason}}"),
                drawn="bars", fill=80, stacked=True, decimals=0,
            )),
    ]


def shutdown_dashboard():
    return dashboard(
        "streamvault-shutdown", "StreamVault shutdown",
        "Every shutdown of a StreamVault recorder: the current one, phase by phase against its grace period, and earlier "
        "ones.",
        refresh="5s", since="1h",
        variables=[
            RECORDER,
            choice("phase", "Phase", f"label_values(streamvault_shutdown_phase_active{{{ONE}}}, phase)")
            | {"current": {"selected": True, "text": "recordings", "value": "recordings"}},
        ],
        annotations=SHUTDOWNS,
        rows=[("$recorder", running()), ("$recorder over time", over_time())],
    )
