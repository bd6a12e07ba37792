import Posix
import StreamVaultTelemetry

/// A family that a recorder declares and no page shows, and why.
struct HiddenFamily: Equatable {
    enum Reason: String {
        case otherShape = "its type, unit or labels differ from those that this name has"
        case reserved = "such names are reserved for recorders and the exporter"
        case otherRecorder = "a recorder seen earlier gives this name another type or unit"
        case sharedName = "another metric has one of its names"
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
/// One name means one thing on a page. The exporter's own names come first, then names in the shape that this version knows
/// (`KnownFamilies`); for any other name, the recorder that was seen first. Sources with the same type and unit share a
/// family, even if their labels, bounds or encodings differ.
struct VisibleFamilies {
    /// What one recorder declares.
    struct Declarer {
        let recorder: String
        /// Its place in the order in which recorders were seen.
        let arrival: UInt64
        let families: [MetricFamily]
        /// Whether it is a process that publishes through the ingest socket.
        let isRelayed: Bool
    }

    /// Indexes of a recorder's families that are not shown.
    struct Indexes: Equatable {
        var everywhere: Set<Int> = []
        /// Those that are hidden in OpenMetrics alone.
        var inOpenMetrics: Set<Int> = []

        func hides(_ family: Int, in dialect: TextDialect) -> Bool {
            everywhere.contains(family)
                || dialect.isOpenMetrics && inOpenMetrics.contains(family)
        }
    }

    private(set) var hidden: [HiddenFamily] = []
    /// For each recorder, in the order in which they were given.
    private(set) var hiddenIndexes: [Indexes] = []
    private var decided: [(contents: SegmentContents?, name: String)] = []

    /// Decides anew if one of the recorders has changed its declarations; `true` if it did.
    mutating func update(_ recorders: [KnownRecorder]) -> Bool {
        let isSame =
            recorders.count == decided.count
            && recorders.indices.allSatisfy {
                recorders[$0].snapshot?.contents === decided[$0].contents
                    && recorders[$0].name == decided[$0].name
            }
        guard !isSame else { return false }
        decided = recorders.map { ($0.snapshot?.contents, $0.name) }
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
        return true
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

/// What names mean on the pages that are being decided on.
private struct Claims {
    private var shown: [String: MetricFamily] = [:]
    /// Which family has a name in the text format; and in OpenMetrics, which makes more names of one.
    private var owners = KnownFamilies.owners
    private var openMetricsOwners = KnownFamilies.owners

    /// Claims a family's names; why it is hidden, if it is.
    mutating func refusal(of family: MetricFamily, isRelayed: Bool) -> HiddenFamily.Reason? {
        // Usual: every recorder of a version declares the same.
        if !isRelayed, shown[family.name] == family { return nil }
        if !isWellFormed(family) { return .malformed }
        let names = MetricFamily.sampleNames(family.name, family.kind, inOpenMetrics: true)
        if names.contains(where: { $0.hasPrefix(KnownFamilies.ownPrefix) }) { return .reserved }
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
            // Not in `shown`: each of its kind is hidden there.
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

    /// What OpenMetrics demands of an info and of a stateset; a parser may refuse the whole page otherwise.
    private func isWellFormed(_ family: MetricFamily) -> Bool {
        switch family.kind {
        case .stateset: family.unit.isEmpty && family.labels.contains(family.name)
        case .info: family.unit.isEmpty
        case .counter, .gauge, .histogram: true
        }
    }
}
