import Posix
import StreamVaultTelemetry

/// A family that a recorder declares and no page shows, and why.
struct HiddenFamily: Equatable {
    enum Reason: String {
        case otherShape = "its type, unit or labels differ from those of the known metric"
        case reserved = "such names are reserved for recorders and the exporter"
        case otherRecorder = "a recorder seen earlier gives this name another type or unit"
        case sharedName = "another metric uses one of its names"
        /// A gauge `jobs` and a counter `jobs_total` are one family in OpenMetrics, and two in the text format 0.0.4.
        case sharedInOpenMetrics =
            "another metric has its name in OpenMetrics; other formats show it"
        case malformed = "an info or a stateset with a unit, or a stateset without its label"
    }

    let recorder: String
    let name: String
    let reason: Reason
}

/// Decides which declared families the pages show, so that no recorder hides or imitates the metrics of another.
///
/// A name has one meaning on a page. The exporter's own names have priority, then the names that this version knows, in
/// their known shape; any other name belongs to the recorder that was seen first. Sources with the same type and unit
/// share a family, even if their labels, bounds or encodings differ.
struct VisibleFamilies {
    /// The declarations of one recorder.
    struct Declarer {
        let recorder: String
        /// Its position in the order in which recorders were first seen.
        let arrival: UInt64
        let families: [MetricFamily]
        /// Whether it is a client of the ingest socket.
        let isRelayed: Bool
    }

    /// Indexes of a recorder's hidden families.
    struct Indexes: Equatable {
        var everywhere: Set<Int> = []
        /// Those that are hidden in OpenMetrics only.
        var inOpenMetrics: Set<Int> = []

        func hides(_ family: Int, in dialect: TextDialect) -> Bool {
            everywhere.contains(family)
                || dialect.isOpenMetrics && inOpenMetrics.contains(family)
        }
    }

    private(set) var hidden: [HiddenFamily] = []
    /// For each recorder, in the order of the recorders.
    private(set) var hiddenIndexes: [Indexes] = []

    mutating func decide(_ recorders: [KnownRecorder]) {
        decide(
            recorders.map {
                Declarer(
                    recorder: $0.name,
                    arrival: $0.arrival,
                    families: $0.snapshot?.contents.families ?? [],
                    isRelayed: $0.snapshot?.contents.identity.isRelayed ?? false
                )
            }
        )
    }

    mutating func decide(_ declarers: [Declarer]) {
        var claims = Claims()
        hiddenIndexes = declarers.map { _ in Indexes() }
        hidden = []
        for place in declarers.indices.sorted(by: { declarers[$0].arrival < declarers[$1].arrival })
        {
            let declarer = declarers[place]
            for (index, family) in declarer.families.enumerated() {
                guard let reason = claims.refusal(of: family, isRelayed: declarer.isRelayed) else {
                    continue
                }
                if reason == .sharedInOpenMetrics {
                    hiddenIndexes[place].inOpenMetrics.insert(index)
                } else {
                    hiddenIndexes[place].everywhere.insert(index)
                }
                hidden.append(
                    HiddenFamily(recorder: declarer.recorder, name: family.name, reason: reason)
                )
            }
        }
    }
}

/// The meanings of names, while a decision is being made.
private struct Claims {
    private var shown: [String: MetricFamily] = [:]
    /// The family that each name belongs to in the text format, and in OpenMetrics, which has more names for each.
    private var owners = KnownFamilies.owners
    private var openMetricsOwners = KnownFamilies.owners

    /// Claims the names of a family; if it must be hidden, the reason.
    mutating func refusal(of family: MetricFamily, isRelayed: Bool) -> HiddenFamily.Reason? {
        // The usual case: all recorders of a version declare the same families.
        if !isRelayed, shown[family.name] == family { return nil }
        if !isWellFormed(family) { return .malformed }
        let names = MetricFamily.sampleNames(family.name, family.kind, inOpenMetrics: true)
        if names.contains(where: { $0.hasPrefix(KnownFamilies.exporterPrefix) }) {
            return .reserved
        }
        if isRelayed, names.contains(where: { $0.hasPrefix(MetricFamily.projectPrefix) }),
            RunMetrics.fixedFamilies[family.name] == nil
        {
            return .reserved
        }
        guard KnownFamilies.agree(with: family) else { return .otherShape }
        if let first = shown[family.name] {
            return first.kind == family.kind && first.unit == family.unit ? nil : .otherRecorder
        }
        return claim(family, names)
    }

    private mutating func claim(
        _ family: MetricFamily,
        _ names: [String]
    ) -> HiddenFamily.Reason? {
        let textNames = MetricFamily.sampleNames(family.name, family.kind, inOpenMetrics: false)
        if textNames.contains(where: { isTaken($0, in: owners, of: family) }) { return .sharedName }
        for name in textNames { owners[name] = family.name }
        if names.contains(where: { isTaken($0, in: openMetricsOwners, of: family) }) {
            // Not added to `shown`, so that it is hidden there for each recorder that declares it.
            return .sharedInOpenMetrics
        }
        for name in names { openMetricsOwners[name] = family.name }
        shown[family.name] = family
        return nil
    }

    private func isTaken(
        _ name: String,
        in owners: [String: String],
        of family: MetricFamily
    ) -> Bool {
        owners[name].map { $0 != family.name } ?? false
    }

    /// The rules of OpenMetrics for an info and a stateset; a parser may reject the whole page otherwise.
    private func isWellFormed(_ family: MetricFamily) -> Bool {
        switch family.kind {
        case .stateset: family.unit.isEmpty && family.labels.contains(family.name)
        case .info: family.unit.isEmpty
        case .counter, .gauge, .histogram: true
        }
    }
}

/// The metrics that this version knows, and the names that only the exporter may use.
///
/// Segments are untrusted input: without this table, the recorder whose name sorts first would define each name.
enum KnownFamilies {
    /// The prefix of the exporter's own names.
    static let exporterPrefix = "streamvault_exporter_"

    /// The properties of a family that readers of a page see; sources may encode its cells differently.
    struct Shape: Equatable {
        let kind: MetricFamily.Kind
        let unit: String
        /// Sorted, because the order of labels has no meaning.
        let labels: [String]

        init(_ kind: MetricFamily.Kind, unit: String = "", _ labels: [String] = []) {
            (self.kind, self.unit, self.labels) = (kind, unit, labels.sorted())
        }

        init(_ family: MetricFamily) {
            self.init(family.kind, unit: family.unit, family.labels)
        }
    }

    /// The shapes of all known metrics: those of every segment, of the recorder and of a process.
    static let shapes: [String: Shape] = {
        var shapes = recorder
        for family in RunMetrics.fixedFamilies.values + ExporterMetrics.processFamilies {
            shapes[family.name] = Shape(family)
        }
        return shapes
    }()

    /// Whether a family has the known shape; `true` for an unknown name.
    static func agree(with family: MetricFamily) -> Bool {
        // The values of these are derived from the records of a run, so their cells must match, too.
        if let fixed = RunMetrics.fixedFamilies[family.name] { return fixed.hasShape(of: family) }
        return shapes[family.name].map { $0 == Shape(family) } ?? true
    }

    /// All names in all formats, and the known family that each belongs to.
    static let owners: [String: String] = {
        var owners: [String: String] = [:]
        for (name, shape) in shapes {
            for one in MetricFamily.sampleNames(name, shape.kind, inOpenMetrics: true) {
                owners[one] = name
            }
        }
        return owners
    }()

    /// The metrics of this version's recorder, without those of every segment; `docs/metrics.md` lists all.
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
