import StreamVaultTelemetry

extension MetricFamily {
    static let buildInfo = MetricFamily(
        name: "streamvault_exporter_build_info",
        help: "1, with the exporter's version.",
        kind: .gauge,
        labels: ["version"]
    )
    static let httpRequests = MetricFamily(
        name: "streamvault_exporter_http_requests_total",
        help: "Requests answered; those of the handler rejected broke a rule of HTTP or a limit.",
        kind: .counter,
        labels: ["handler", "code"]
    )
    static let evictions = MetricFamily(
        name: "streamvault_exporter_http_evictions_total",
        help: "Connections closed to make room for others: places, or memory for responses.",
        kind: .counter
    )
    static let segmentReadErrors = MetricFamily(
        name: "streamvault_exporter_segment_read_errors_total",
        help: "Telemetry segments that could not be read; missing: seen before;"
            + " too_many, no_room: beyond the exporter's bounds.",
        kind: .counter,
        labels: ["reason"]
    )
    static let segmentReadDuration = MetricFamily(
        name: "streamvault_exporter_segment_read_duration_seconds",
        help: "Time that the last look at all telemetry segments took.",
        kind: .gauge,
        scale: 1_000_000_000,
        unit: "seconds"
    )
    static let hiddenFamilies = MetricFamily(
        name: "streamvault_exporter_hidden_families",
        help: "Metrics that recorders declare and that are not shown,"
            + " because their names mean something else.",
        kind: .gauge
    )
    static let scrapers = MetricFamily(
        name: "streamvault_exporter_scrapers",
        help: "Scrapers seen in the last five minutes; each is waited for at the end.",
        kind: .gauge
    )
    static let finalScrapePending = MetricFamily(
        name: "streamvault_exporter_final_scrape_pending",
        help: "1 while the exporter only waits for the final state of a recorder to be scraped.",
        kind: .gauge
    )

    static let wrongTokens = MetricFamily(
        name: "streamvault_exporter_wrong_tokens_total",
        help: "Requests with a wrong bearer token.",
        kind: .counter
    )

    static let droppedLogLines = MetricFamily(
        name: "streamvault_exporter_log_dropped_lines_total",
        help: "Lines that the log dropped, because standard output was full, blocked or failed.",
        kind: .counter
    )

    /// The usual metrics of a process, in the order of `OwnMetrics.source`.
    static let process = [
        MetricFamily(
            name: "process_cpu_seconds_total",
            help: "User and system CPU time of the exporter.",
            kind: .counter,
            scale: 1_000_000_000,
            unit: "seconds"
        ),
        MetricFamily(
            name: "process_resident_memory_bytes",
            help: "Resident memory of the exporter.",
            kind: .gauge,
            unit: "bytes"
        ),
        MetricFamily(
            name: "process_virtual_memory_bytes",
            help: "Virtual memory of the exporter.",
            kind: .gauge,
            unit: "bytes"
        ),
        MetricFamily(
            name: "process_open_fds",
            help: "Open descriptors of the exporter.",
            kind: .gauge
        ),
        MetricFamily(
            name: "process_max_fds",
            help: "Most descriptors that the exporter may have open.",
            kind: .gauge
        ),
        MetricFamily(
            name: "process_start_time_seconds",
            help: "When the exporter was started.",
            kind: .gauge,
            scale: 1_000_000_000,
            unit: "seconds"
        ),
    ]
}
