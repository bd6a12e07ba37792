"""A recorder at work: what it writes, what it misses, and whether what it says can be trusted."""

from .dashboard import RECORDER, SHUTDOWNS, dashboard
from .panels import GREEN, ONE, ORANGE, RED, STATE_COLOURS, bars, counted, lines, painted, query, stat, steps

RATE = f"{{{ONE}}}[$__rate_interval]"
LIVES = f"and on (job, instance, recorder) streamvault_recorder_up{{{ONE}}} == 1"


def overview():
    return [(4,
        stat(
            "Recorder", "What the recorder is doing now. Empty when no pod of it is being scraped.",
            query(f"max by (streamvault_recorder_state) (streamvault_recorder_state{{{ONE}}} == 1)",
                  "{{streamvault_recorder_state}}", now=True),
            shows="name", empty="not scraped", overrides=painted(STATE_COLOURS),
        ),
        stat(
            "Recordings open", "Recordings whose files are being written.",
            query(f"sum(streamvault_recordings_active{{{ONE}}})", "active", now=True), empty="not scraped",
        ),
        stat(
            "Longest without media", "Of all open recordings, the one that has waited longest for its stream.",
            query(f"time() - min(streamvault_recording_last_write_timestamp_seconds{{{ONE}}})", "silent for", now=True),
            unit="s", decimals=0, empty="none open", thresholds=steps(GREEN, 30, ORANGE, 60, RED),
        ),
        stat(
            "Written", "Media written to files in a second.",
            query(f"sum(rate(streamvault_written_bytes_total{RATE}))", "written", now=True), unit="Bps", empty="not scraped",
        ),
        stat(
            "Disk free", "Share of the file system with the recordings that is free.",
            query(f"min(streamvault_disk_free_bytes{{{ONE}}} / streamvault_disk_size_bytes{{{ONE}}})", "free", now=True),
            unit="percentunit", decimals=0, empty="not scraped", thresholds=steps(RED, 0.05, ORANGE, 0.1, GREEN),
        ),
        stat(
            "Running for", "Since the recorder's start.",
            query(f"time() - max(streamvault_recorder_start_time_seconds{{{ONE}}} {LIVES})", "running for", now=True),
            unit="s", decimals=0, empty="not running",
        ),
    )]


def streams():
    return [
        (9,
            lines(
                "Written by stream", "Media of each open recording so far. A line that lies flat is a stream that stands still.",
                query(f"max by (stream) (streamvault_recording_written_bytes{{{ONE}}})", "{{stream}}"), unit="bytes",
            ),
            lines(
                "Time since media arrived", "Of each open recording. The alert fires beyond the line.",
                query(f"time() - max by (stream) (streamvault_recording_last_write_timestamp_seconds{{{ONE}}})", "{{stream}}"),
                unit="s", thresholds=steps("transparent", 60, RED),
            )),
        (8,
            lines(
                "Media segments missed", "Segments that a playlist announced and that could not be had: gaps in the recordings.",
                query(f'sum(increase(streamvault_media_segments_total{{{ONE}, result="missed"}}[$__rate_interval]))', "missed"),
                drawn="bars", fill=80, decimals=0, overrides=painted({"missed": ORANGE}),
            ),
            lines(
                "Playlist errors", "Loads of playlists that failed, by reason.",
                query(f"sum by (reason) (increase(streamvault_playlist_errors_total{RATE})) > 0", "{{reason}}"),
                drawn="bars", fill=80, stacked=True, decimals=0,
            )),
    ]


def recordings():
    quantiles = (("0.5", "median"), ("0.95", "95th percentile"))
    return [
        (8,
            lines(
                "Recordings", "Open, and being brought to their final name.",
                query(f"sum(streamvault_recordings_active{{{ONE}}})", "active"),
                query(f"sum(streamvault_recordings_finalizing{{{ONE}}})", "finalizing"),
                decimals=0,
            ),
            lines(
                "Recordings finished",
                "completed: the stream ended; interrupted: a shutdown ended it; failed; abandoned: the process died.",
                query(f"sum by (result) (increase(streamvault_recordings_finished_total{RATE}))", "{{result}}"),
                drawn="bars", fill=80, stacked=True, decimals=0,
                overrides=painted({"completed": GREEN, "interrupted": "blue", "failed": ORANGE, "abandoned": RED}),
            ),
            lines(
                "Finalize duration", "Time to bring a recording's file to its final name.",
                *(query(f"histogram_quantile({share}, sum by (le) (increase(streamvault_finalize_duration_seconds_bucket{RATE}))) >= 0", name)
                  for share, name in quantiles),
                unit="s",
            )),
        (8,
            lines(
                "Disk", "Room left for recordings, and where it will be in four hours at the present rate.",
                query(f"min(streamvault_disk_free_bytes{{{ONE}}})", "free"),
                query(f"min(predict_linear(streamvault_disk_free_bytes{{{ONE}}}[1h], 14400))", "free in four hours"),
                query(f"max(streamvault_disk_size_bytes{{{ONE}}})", "size"),
                unit="bytes",
            ),
            lines(
                "Catalogue", "Time of a transaction of the catalogue.",
                *(query("histogram_quantile("
                        f"{share}, sum by (le) (increase(streamvault_database_transaction_duration_seconds_bucket{RATE}))) >= 0", name)
                  for share, name in quantiles),
                unit="s",
            ),
            bars(
                "Finalize and catalogue errors", "In the time range, by reason.",
                query(counted(f"streamvault_finalize_errors_total{{{ONE}}}", "reason") + " > 0", "finalize: {{reason}}", now=True),
                query(counted(f"streamvault_database_errors_total{{{ONE}}}", "reason") + " > 0", "catalogue: {{reason}}", now=True),
                decimals=0, thresholds=steps(RED),
            )),
    ]


def telemetry():
    """About the exporter, whose metrics have no `recorder`."""
    fleet = ONE.rsplit(", ", 1)[0]
    return [(8,
        lines(
            "Heartbeat", "Age of the recorder's heartbeat when it was scraped. A loop that hangs lets it grow.",
            query(f"timestamp(streamvault_recorder_heartbeat_timestamp_seconds{{{ONE}}}) - "
                  f"streamvault_recorder_heartbeat_timestamp_seconds{{{ONE}}} {LIVES}", "{{instance}}"),
            unit="s", thresholds=steps("transparent", 10, RED),
        ),
        lines(
            "Segments that cannot be read", "By the exporters of the instances chosen, by reason. Recordings go on meanwhile.",
            query(f"sum by (reason) (increase(streamvault_exporter_segment_read_errors_total{{{fleet}}}[$__rate_interval])) > 0",
                  "{{reason}}"),
            drawn="bars", fill=80, stacked=True, decimals=0,
        ),
        lines(
            "Exporter's memory", "Resident memory of the exporter beside the recorder.",
            query(f"process_resident_memory_bytes{{{fleet}}} and on (job, instance) streamvault_recorder_up{{{ONE}}}",
                  "{{instance}}"),
            unit="bytes",
        ))]


def recorder_dashboard():
    return dashboard(
        "streamvault-recorder", "StreamVault recorder",
        "A StreamVault recorder at work: what it writes and misses, its disk, and whether its telemetry can be trusted.",
        refresh="15s", since="6h", variables=[RECORDER],
        annotations=SHUTDOWNS,
        rows=[("$recorder", overview()), ("Streams", streams()), ("Recordings", recordings()), ("Telemetry", telemetry())],
    )
