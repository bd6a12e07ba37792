#!/usr/bin/env python3
"""Checks grafana/ and prometheus/ on the real thing: recorders are shut down before the eyes of a real Prometheus.

Every query of the dashboards is asked while a shutdown runs, after it was killed, after one that
ended by itself, when the pod is gone, and when the next one is there; and the alerts must have
fired that belong to what happened, and no other. Needs `prometheus` and `promtool` in the PATH;
the programs in .build/debug, or where STREAMVAULT_BIN says. Takes half a minute.
`--show` prints what every panel showed.
"""

import json
import re
import signal
import sys
import tempfile
import time

import rules
from board import Dashboard, Query, check_colours, check_names, expect_known, lint
from harness import ROOT, Report, wait_for
from stage import RECORDER, Stage

report = Report()
expect = report.expect

NOW = ["Recorder", "Shutdown in progress", "Phase", "Time to the deadline", "Open recordings",
       "Running shutdown by phase"]
LAST = ["Last shutdown by phase", "Last outcome", "Last shutdown", "Last duration",
        "Grace period used", "Abandoned recordings"]


# What an idle, healthy recorder does not show.
QUIET = {
    "Playlist errors", "Finalize and catalogue errors", "Finalize duration", "Catalogue",
    "Unreadable segments",
}


def shown_by(board, stage):
    """What every panel shows now: {title: {legend: value}}."""
    shown = {}
    for panel in board.charts:
        series = shown.setdefault(panel["title"], {})
        for target, query in zip(panel["targets"], board.queries_of(panel), strict=True):
            for labels, value in stage.prometheus.query(query.filled(RECORDER)):
                legend = legend_of(target, labels)
                expect(legend not in series, f"{panel['title']}: {legend} twice")
                series[legend] = value
    return shown


def marked_by(board, stage):
    """What every annotation marks now: {name: {text: seconds ago}}."""
    marked = {}
    for note in board.data["annotations"]["list"]:
        query = Query(note["name"], note["expr"])
        marked[note["name"]] = {
            filled_in(note["textFormat"], labels): time.time() - value / 1000
            for labels, value in stage.prometheus.query(query.filled(RECORDER))
        }
    return marked


def filled_in(text, labels):
    return re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), text)


def legend_of(target, labels):
    """The name of a series; in a table, its query and its row."""
    if target["format"] == "table":
        return " ".join([target["refId"], *(f"{key}={value}" for key, value in sorted(labels.items()))])
    return filled_in(target["legendFormat"], labels)


def rehearse(stage, boards):
    """Plays two pods' lives and stops, with its name, at each moment worth a look."""
    first, second = stage.pods
    up = f'streamvault_recorder_up{{instance="{first.address}"}}'
    active = "max(streamvault_recordings_active)"

    exporter, recorder = first.start_exporter(), first.start_recorder()
    stage.start_prometheus()
    wait_for("the recording", lambda: "streamvault_recording_written_bytes" in first.page(), 10)
    for board in boards.values():
        check_names(board, first.page(), expect)
    check_colours(boards.values(), first.page(), expect)
    for query in rules.queries():
        expect_known(query, first.page(), expect)
    wait_for("Prometheus", lambda: stage.prometheus.value(active) == 1, 20)
    stage.prometheus.await_value(f"min(count_over_time({up}[1h])) >= bool 3", 1)
    yield "before"

    recorder.send_signal(signal.SIGTERM)
    elapsed = 'streamvault_shutdown_phase_elapsed_seconds{phase="recordings"}'
    wait_for("a second of the phase", lambda: first.elapsed("recordings") > 1, 10)
    recorder.send_signal(signal.SIGSTOP)  # Or the phase would be over before a slow machine has seen it.
    stage.prometheus.await_value(f"{elapsed} > bool 1", 1)
    yield "during"

    recorder.kill()
    stage.prometheus.await_value(up, 0)
    yield "killed"

    recorder = first.start_recorder()
    stage.prometheus.await_value(f"sum({up}) + {active}", 2)
    recorder.send_signal(signal.SIGTERM)
    expect(recorder.wait(60) == 0, f"the recorder left with {recorder.returncode}")
    stage.prometheus.await_value(up, 0)
    yield "after"

    exporter.terminate()
    exporter.wait(60)
    stage.prometheus.await_value(up, None)
    yield "gone"

    second.start_exporter()
    recorder = second.start_recorder()
    stage.prometheus.await_value(active, 1)
    yield "next pod"

    recorder.kill()
    stage.prometheus.await_value("streamvault_recorder_up", 0)
    yield "crashed"


def check_before(shown):
    expect(list(shown["Recorder"]) == ["recording"], f"before: {shown['Recorder']}")
    expect(shown["Recorders by state"] == {"recording": 1}, f"before: {shown['Recorders by state']}")
    expect(shown["Shutdown in progress"] == {"in progress": 0}, "before: in progress")
    expect(shown["Open recordings"] == {"active": 1, "finalizing": 0}, "before: recordings open")
    never = ["Phase duration, 95th percentile", "Phases with errors", "Finalize errors",
             "Last shutdown of all recorders, 95th percentile"]
    for title in ["Phase", "Time to the deadline"] + LAST + never:
        expect(shown[title] == {}, f"before: {title} shows {shown[title]}")
    check_ends(shown, "before")


def check_during(shown):
    expect(list(shown["Recorder"]) == ["stopping"], f"during: {shown['Recorder']}")
    expect(shown["Shutdown in progress"] == {"in progress": 1}, "during: in progress")
    expect(list(shown["Phase"]) == ["recordings"], f"during: {shown['Phase']}")
    left = shown["Time to the deadline"].get("left", 0)
    expect(0 < left < 59, f"during: {left} s to the deadline of 60")
    phases = shown["Running shutdown by phase"]
    expect(phases.get("grace period") == 60, f"during: {phases}")
    expect(1 < phases.get("recordings", 0) < 60, f"during: {phases}")


def check_killed(shown):
    expect(list(shown["Recorder"]) == ["killed"], f"killed: {shown['Recorder']}")
    expect(list(shown["Last outcome"]) == ["killed"], f"killed: {shown['Last outcome']}")
    expect(shown["Abandoned recordings"] == {"abandoned": 1}, "killed: abandoned")
    bad = shown["Phases with errors"]
    expect(bad == {"recordings: killed": 1}, f"killed: {bad}")
    lasted = shown["Last shutdown by phase"].get("recordings", 0)
    expect(0.5 < lasted < 6, f"killed: recordings lasted {lasted}")
    check_ends(shown, "killed", "killed")


def check_stopped(shown, when, logged):
    """The panels about a shutdown that ended by itself, against the durations in the recorder's log."""
    phases = shown["Last shutdown by phase"]
    of_all = shown["Last shutdown of all recorders, 95th percentile"]
    expect(of_all == phases, f"{when}: of all recorders {of_all}, not {phases}")
    expect(logged and phases.keys() == logged.keys(), f"{when}: phases {sorted(phases)}")
    for phase, seconds in logged.items():
        off = abs(phases.get(phase, 0) - seconds)
        expect(off < 0.01, f"{when}: {phase} {phases.get(phase)}, logged {seconds}")
    duration, total = shown["Last duration"].get("duration", 0), sum(logged.values())
    expect(abs(duration - total) < 0.1, f"{when}: duration {duration}, logged {total}")
    used = shown["Grace period used"].get("used", 0)
    expect(abs(used - duration / 60) < 0.001, f"{when}: {used} of the grace period")
    expect(shown["Abandoned recordings"] == {"abandoned": 0}, f"{when}: abandoned")
    age = time.time() - shown["Last shutdown"].get("when", 0) / 1000
    expect(0 < age < 120, f"{when}: last shutdown {age} s ago")
    outcome = next(iter(shown["Last outcome"]), None)
    expect(outcome in ("clean", "degraded"), f"{when}: outcome {outcome}")
    check_ends(shown, when, "killed", outcome)
    p95 = shown["Phase duration, 95th percentile"].get("recordings", 0)
    expect(2.5 < p95 <= 10, f"{when}: 95th percentile of recordings {p95}")


def check_ends(shown, when, *outcomes):
    wanted = {outcome: float(outcome in outcomes) for outcome in
              ("clean", "degraded", "killed", "crashed")}
    for title in ("Ended runs in the time range", "Ended runs of all recorders"):
        expect(shown[title] == wanted, f"{when}: {title} {shown[title]}, not {wanted}")


def check_next(gone, following, crashed):
    """A new pod does not hide the last shutdown of the old one, until it has an end of its own."""
    expect(list(following["Recorder"]) == ["recording"], f"next pod: {following['Recorder']}")
    for title in LAST:
        expect(following[title] == gone[title], f"next pod: {title} shows {following[title]}")
    expect(list(crashed["Last outcome"]) == ["crashed"], f"crashed: {crashed['Last outcome']}")
    expect(crashed["Abandoned recordings"] == {"abandoned": 1}, "crashed: abandoned")
    check_ends(crashed, "crashed", "crashed", "killed", *gone["Last outcome"])
    for title in ("Last shutdown by phase", "Last duration", "Grace period used"):
        expect(crashed[title] == {}, f"crashed: {title} shows {crashed[title]}")
    of_all = "Last shutdown of all recorders, 95th percentile"
    expect(crashed[of_all] == gone[of_all], f"crashed: a crash moves the percentiles to {crashed[of_all]}")


def check_recorder_board(shown):
    """At work, no panel is empty that an idle, healthy recorder fills."""
    for title, series in shown.items():
        expect(bool(series) != (title in QUIET), f"recorder at work: {title} shows {series}")
    expect(shown["Longest without media"]["silent for"] < 10, "recorder at work: stalled")
    expect(0 < shown["Disk free"]["free"] <= 1, f"recorder at work: {shown['Disk free']}")


def check_recorded(recorded, outcome, used):
    """What the rules say of a killed, a stopped and a crashed run."""
    wanted = {end: float(end in ("killed", "crashed", outcome)) for end in ("clean", "degraded", "killed", "crashed")}
    ended = recorded["streamvault_runs_ended:increase1d"]
    expect(ended == wanted, f"recorded: ended {ended}, not {wanted}")
    ratio = recorded["streamvault_shutdown_success:ratio1d"][None]
    expect(abs(ratio - wanted["clean"] / 3) < 1e-9, f"recorded: success {ratio}")
    p95 = recorded["streamvault_shutdown_phase_duration_seconds:p95_1d"]
    expect(2.5 < p95["recordings"] <= 10 and len(p95) == 6, f"recorded: 95th percentiles {p95}")
    grace = recorded["streamvault_last_shutdown_grace_used:p95_1d"][None]
    expect(abs(grace - used) < 1e-9, f"recorded: {grace} of the grace period, not {used}")


def check_marks(marks, name, outcome):
    """Both dashboards of one recorder mark the shutdown that runs, and each end with its outcome."""
    during, after = ({note: list(texts) for note, texts in marks[moment][name].items()} for moment in ("during", "after"))
    expect(during == {"Shutdown requested": [RECORDER], "Run ended": []}, f"{name}: marked during {during}")
    expect(after == {"Shutdown requested": [], "Run ended": [f"{RECORDER}: {outcome}"]}, f"{name}: marked after {after}")
    ages = marks["after"][name]["Run ended"].values()
    expect(all(0 < age < 120 for age in ages), f"{name}: marked {ages} s ago")


def check_table(shown, when, *outcomes):
    """Each pod that a run ended in has a row, and if that was not well, one in the other table, too."""
    check_rows(shown["Latest run of every recorder"], f"{when}: ends", outcomes)
    check_rows(shown["Latest runs that did not end cleanly"], f"{when}: bad ends", [end for end in outcomes if end != "clean"])


def check_rows(cells, place, outcomes):
    """A table has a row for each, which every query has something for; a crash took no time."""
    seen = sorted(re.findall(r"streamvault_last_shutdown_outcome=(\w+)", " ".join(cells)))
    expect(seen == sorted(outcomes), f"{place}: {seen}")
    letters = [cell[0] for cell in cells]
    timed = sum(outcome != "crashed" for outcome in outcomes)
    for letter in "ABCDEF":
        expect(letters.count(letter) == (timed if letter in "CDE" else len(outcomes)), f"{place}: {letters}")


def check_alerts(fired, outcome):
    """What has fired by the end of each moment."""
    killed = {"StreamVaultShutdownKilled", "StreamVaultRecordingsAbandoned"}
    ended = killed | ({"StreamVaultShutdownDegraded"} if outcome == "degraded" else set())
    wanted = {
        "before": set(), "during": set(), "killed": killed, "after": ended, "gone": ended, "next pod": ended,
        "crashed": ended | {"StreamVaultRecorderCrashed"},
    }
    for moment, alerts in wanted.items():
        expect(fired[moment] == alerts, f"{moment}: alerts {sorted(fired[moment])}, not {sorted(alerts)}")


def watch(stage, boards):
    """What the panels showed, what was marked, and which alerts had fired, by moment; what the recorder logged; what is recorded."""
    moments, marks, fired, logged = {}, {}, {}, {}
    for moment in rehearse(stage, boards):
        stage.prometheus.await_evaluation()
        moments[moment] = {name: shown_by(board, stage) for name, board in boards.items()}
        marks[moment] = {name: marked_by(board, stage) for name, board in boards.items()}
        fired[moment] = stage.alerts()
        failed = stage.failed_rules()
        expect(not failed, f"{moment}: rules that fail: {failed}")
        if moment == "after":
            logged = stage.logged_phases()
    return moments, marks, fired, logged, stage.recorded()


def main():
    boards = {name: Dashboard(ROOT / "grafana" / f"streamvault-{name}.json")
              for name in ("fleet", "shutdown", "recorder")}
    for board in boards.values():
        lint(board, expect)
    rules.lint(expect)
    report.end_if_wrong("monitoring")
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(folder, pods=2)
        try:
            moments, marks, fired, logged, recorded = watch(stage, boards)
        except (TimeoutError, ValueError) as error:
            expect(False, str(error))
            report.end("monitoring")
        finally:
            stage.processes.end_all()
    if "--show" in sys.argv:
        print(json.dumps(moments, indent=1))
    shown = {moment: panels["fleet"] | panels["shutdown"] for moment, panels in moments.items()}
    check_recorder_board(moments["before"]["recorder"])
    check_before(shown["before"])
    check_during(shown["during"])
    check_killed(shown["killed"])
    check_stopped(shown["after"], "after", logged)
    check_stopped(shown["gone"], "gone", logged)
    expect(list(shown["after"]["Recorder"]) == ["stopped"], "after: not stopped")
    expect(shown["after"]["Shutdown in progress"] == {"in progress": 0}, "after: in progress")
    for title in ("Uptime", "Heartbeat"):
        expect(moments["after"]["recorder"][title] == {}, f"after: {title} of a recorder that has stopped")
    for title in NOW:
        expect(shown["gone"][title] == {}, f"gone: {title} shows {shown['gone'][title]}")
    check_next(shown["gone"], shown["next pod"], shown["crashed"])
    outcome = next(iter(shown["after"]["Last outcome"]), None)
    check_table(shown["killed"], "killed", "killed")
    check_table(shown["crashed"], "crashed", outcome, "crashed")
    for name in ("shutdown", "recorder"):
        check_marks(marks, name, outcome)
    check_recorded(recorded, outcome, shown["after"]["Grace period used"].get("used"))
    check_alerts(fired, outcome)
    report.end("monitoring")


if __name__ == "__main__":
    main()
