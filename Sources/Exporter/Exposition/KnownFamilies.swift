import StreamVaultTelemetry

/// The metric names whose meaning this version knows, and the names that only the exporter itself may use.
///
/// A segment is a stranger's input: without this table, a neighbour whose name sorts first decides what a name means for all.
enum KnownFamilies {
    /// Names with this prefix are the exporter's own: a segment can only imitate them.
    static let ownPrefix = "streamvault_exporter_"

    /// What a family looks like to those who read a page; how its cells are encoded is its source's own matter.
    struct Shape: Equatable {
        let kind: MetricFamily.Kind
        let unit: String
        /// Sorted: the order of labels means nothing.
        let labels: [String]

        init(_ kind: MetricFamily.Kind, unit: String = "", _ labels: [String] = []) {
            (self.kind, self.unit, self.labels) = (kind, unit, labels.sorted())
        }

        init(_ family: MetricFamily) {
            self.init(family.kind, unit: family.unit, family.labels)
        }
    }

    /// The shapes of all known names: those that every segment has, those of the recorder, those of a process.
    static let shapes: [String: Shape] = {
        var shapes = recorder
        for family in RunMetrics.fixedFamilies.values + MetricFamily.process {
            shapes[family.name] = Shape(family)
        }
        return shapes
    }()

    /// Whether a family under a known name is what this version knows by it; `true` for a name that it does not know.
    static func agree(with family: MetricFamily) -> Bool {
        // Values of these are derived from the run's records, so their cells must be the known ones, too.
        if let fixed = RunMetrics.fixedFamilies[family.name] { return fixed.hasShape(of: family) }
        return shapes[family.name].map { $0 == Shape(family) } ?? true
    }

    /// Every name that some format makes of a known family, and the family's own name.
    static let owners: [String: String] = {
        var owners: [String: String] = [:]
        for (name, shape) in shapes {
            for one in MetricFamily.sampleNames(name, shape.kind, inOpenMetrics: true) {
                owners[one] = name
            }
        }
        return owners
    }()

    /// What the recorder of this version declares beyond what every segment has; `docs/metrics.md` lists them all.
    private static let recorder: [String: Shape] = [
        "streamvault_database_errors_total": Shape(.counter, ["reason"]),
        "streamvault_database_reopened_total": Shape(.counter, ["cause"]),
        "streamvault_database_transaction_duration_seconds": Shape(.histogram, unit: "seconds"),
        "streamvault_database_up": Shape(.gauge),
        "streamvault_deleted_files_total": Shape(.counter, ["reason"]),
        "streamvault_disk_free_bytes": Shape(.gauge, unit: "bytes"),
        "streamvault_disk_level": Shape(.gauge, ["level"]),
        "streamvault_disk_reserve_bytes": Shape(.gauge, unit: "bytes"),
        "streamvault_disk_size_bytes": Shape(.gauge, unit: "bytes"),
        "streamvault_eventsub_messages_total": Shape(.counter, ["type", "result"]),
        "streamvault_finalize_duration_seconds": Shape(.histogram, unit: "seconds"),
        "streamvault_finalize_errors_total": Shape(.counter, ["reason"]),
        "streamvault_joined_parts_total": Shape(.counter),
        "streamvault_leftover_programs_total": Shape(.counter),
        "streamvault_log_dropped_lines_total": Shape(.counter, ["output"]),
        "streamvault_media_segments_total": Shape(.counter, ["result"]),
        "streamvault_playlist_errors_total": Shape(.counter, ["reason"]),
        "streamvault_recording_lost_parts_total": Shape(.counter),
        "streamvault_recording_write_errors_total": Shape(.counter, ["reason"]),
        "streamvault_recordings_refused_total": Shape(.counter, ["reason"]),
        "streamvault_recovered_recordings_total": Shape(.counter, ["result"]),
        "streamvault_remux_jobs_total": Shape(.counter, ["result"]),
        "streamvault_segment_memory_bytes": Shape(.gauge, unit: "bytes"),
        "streamvault_segment_waits_total": Shape(.counter),
        "streamvault_websocket_clients": Shape(.gauge),
        "streamvault_wrong_tokens_total": Shape(.counter),
        "streamvault_written_bytes_total": Shape(.counter),
    ]
}
