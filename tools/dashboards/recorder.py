"""A recorder at work: written and missed media, disk, and the state of its telemetry."""

from .dashboard import RECORDER, SHUTDOWNS, dashboard
from .panels import GREEN, ONE, ORANGE, RED, STATE_COLOURS, bars, counted, lines, painted, query, stat, steps

RATE = f"{{{ONE}}}[$__rate_interval]"
LIVES = f"and on (job, instance, recorder) streamvault_recorder_up{{{ONE}}} == 1"


def overview():
    return [(4,
        stat(
            "Recorder", "State of the recorder. Empty if none of its pods is being scraped.",
            query(f"max by (streamvault_recorder_state) (streamvault_recorder_state{{{ONE}}} == 1)",
                  "{{streamvault_recorder_state}}", now=True),
            shows="name", empty="not scraped", overrides=painted(STATE_COLOURS),
        ),
        stat(
            "Open recordings", "Recordings whose files are being written.",
            query(f"sum(streamvault_recordings_active{{{ONE}}})", "active", now=True), empty="not scraped",
        ),
        stat(
            "Longest without media", "The longest time since an open recording last received media.",
            query(f"time() - min(streamvault_recording_last_write_timestamp_seconds{{{ONE}}})", "silent for", now=True),
            unit="s", decimals=0, empty="none open", thresholds=steps(GREEN, 30, ORANGE, 60, RED),
        ),
        stat(
            "Written", "Media written to files per second.",
            query(f"sum(rate(streamvault_written_bytes_total{RATE}))", "written", now=True), unit="Bps", empty="not scraped",
        ),
        stat(
            "Disk free", "Free share of the file system that holds the recordings.",
            query(f"min(streamvault_disk_free_bytes{{{ONE}}} / streamvault_disk_size_bytes{{{ONE}}})", "free", now=True),
            unit="percentunit", decimals=0, empty="not scraped", thresholds=steps(RED, 0.05, ORANGE, 0.1, GREEN),
        ),
        stat(
            "Uptime", "Time since the recorder started.",
            query(f"time() - max(streamvault_recorder_start_time_seconds{{{ONE}}} {LIVES})", "running for", now=True),
            unit="s", decimals=0, empty="not running",
        ),
    )]


def streams():
    return [
        (9,
            lines(
                "Written by stream", "Bytes of each open recording. A flat line means that the stream delivers no media.",
                query(f"max by (stream) (streamvault_recording_written_bytes{{{ONE}}})", "{{stream}}"), unit="bytes",
            ),
            lines(
                "Time since media arrived", "Per open recording. The line is the threshold of the alert.",
                query(f"time() - max by (stream) (streamvault_recording_last_write_timestamp_seconds{{{ONE}}})", "{{stream}}"),
                unit="s", thresholds=steps("transparent", 60, RED),
            )),
        (8,
            lines(
                "Media segments missed", "Segments that a playlist listed but that could not be downloaded: gaps in the recordings.",
                query(f'sum(increase(streamvault_media_segments_total{{{ONE}, result="missed"}}[$__rate_interval]))', "missed"),
                drawn="bars", fill=80, decimals=0, overrides=painted({"missed": ORANGE}),
            ),
            lines(
                "Playlist errors", "Failed playlist loads by reason.",
                query(f"sum by (reason) (increase(streamvault_playlist_errors_total{RATE})) > 0", "{{reason}}"),
                drawn="bars", fill=80, stacked=True, decimals=0,
            )),
    ]


def recordings():
    quantiles = (("0.5", "median"), ("0.95", "95th percentile"))
    return [
        (8,
            lines(
                "Recordings", "Recordings being written and being finalized.",
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
                "Finalize duration", "Time to finalize the file of a recording.",
                *(query(f"histogram_quantile({share}, sum by (le) (increase(streamvault_finalize_duration_seconds_bucket{RATE}))) >= 0", name)
                  for share, name in quantiles),
                unit="s",
            )),
        (8,
            lines(
                "Disk", "Free space for recordings, and its prediction in four hours at the present rate.",
                query(f"min(streamvault_disk_free_bytes{{{ONE}}})", "free"),
                query(f"min(predict_linear(streamvault_disk_free_bytes{{{ONE}}}[1h], 14400))", "free in four hours"),
                query(f"max(streamvault_disk_size_bytes{{{ONE}}})", "size"),
                unit="bytes",
            ),
            lines(
                "Catalogue", "Duration of catalogue transactions.",
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
            "Heartbeat", "Age of the recorder's heartbeat at the scrape. It grows while the main loop hangs.",
            query(f"timestamp(streamvault_recorder_heartbeat_timestamp_seconds{{{ONE}}}) - "
                  f"streamvault_recorder_heartbeat_timestamp_seconds{{{ONE}}} {LIVES}", "{{instance}}"),
            unit="s", thresholds=steps("transparent", 10, RED),
        ),
        lines(
            "Unreadable segments", "Read errors of the selected exporters by reason. Recording is not affected.",
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
        "A StreamVault recorder at work: written and missed media, its disk, and the state of its telemetry.",
        refresh="15s", since="6h", variables=[RECORDER],
        annotations=SHUTDOWNS,
        rows=[("$recorder", overview()), ("Streams", streams()), ("Recordings", recordings()), ("Telemetry", telemetry())],
    )
