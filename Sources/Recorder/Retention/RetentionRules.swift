import Posix

/// When recordings that have ended are removed; a rule that is `nil` removes none.
struct RetentionRules: Equatable, Sendable {
    /// Since the end.
    var maxAge: Duration?
    var maxCount: Int?
    var maxBytes: UInt64?

    var isEmpty: Bool { self == RetentionRules() }
}

/// Why a recording is removed; the raw value is the label of the metric.
enum RetentionReason: String, CaseIterable, Sendable {
    case age, count, size
}

/// Which recordings the rules remove.
struct RetentionPlan: Equatable, Sendable {
    /// For all recordings together.
    var overall = RetentionRules()
    /// For the recordings of each stream.
    var byStream: [String: RetentionRules] = [:]

    var isEmpty: Bool { overall.isEmpty && byStream.values.allSatisfy(\.isEmpty) }

    /// The recordings to remove, the oldest first.
    ///
    /// Those that may not be removed count all the same. The last recording of a stream may go on for `resumeWindow`.
    func expired(
        of recordings: [CatalogueRecording],
        aged ages: RecordingAges,
        resumeWindow: Duration
    ) -> [(recording: CatalogueRecording, reason: RetentionReason)] {
        let newestFirst = recordings.filter(\.hasFile).sorted { $0.id > $1.id }
        var streams: Set<String> = []
        var removable: Set<Int64> = []
        for recording in newestFirst {
            let isLast = streams.insert(recording.stream).inserted
            let mayGoOn = isLast && ages[recording].map { $0 <= resumeWindow } ?? true
            if recording.isRemovable(mayGoOn: mayGoOn) { removable.insert(recording.id) }
        }
        var reasons: [Int64: RetentionReason] = [:]
        for (stream, rules) in byStream {
            reasons.merge(rules.expired(of: newestFirst.filter { $0.stream == stream }, ages)) {
                first,
                _ in first
            }
        }
        // What a stream's own rules remove is no longer there to be counted.
        let rest = newestFirst.filter { reasons[$0.id] == nil || !removable.contains($0.id) }
        reasons.merge(overall.expired(of: rest, ages)) { first, _ in first }
        return newestFirst.reversed().compactMap { recording in
            guard removable.contains(recording.id), let reason = reasons[recording.id] else {
                return nil
            }
            return (recording, reason)
        }
    }
}

extension RetentionRules {
    /// The newest recording is spared by count and size: a rule that is too small must not remove what was just recorded.
    fileprivate func expired(
        of newestFirst: [CatalogueRecording],
        _ ages: RecordingAges
    ) -> [Int64: RetentionReason] {
        var reasons: [Int64: RetentionReason] = [:]
        var bytes: UInt64 = 0
        for (index, recording) in newestFirst.enumerated() {
            let (sum, overflow) = bytes.addingReportingOverflow(
                UInt64(clamping: recording.storedBytes)
            )
            bytes = overflow ? .max : sum
            if let maxAge, let age = ages[recording], age > maxAge {
                reasons[recording.id] = .age
            } else if let maxCount, index >= max(1, maxCount) {
                reasons[recording.id] = .count
            } else if let maxBytes, index > 0, bytes > maxBytes {
                reasons[recording.id] = .size
            }
        }
        return reasons
    }
}

extension CatalogueRecording {
    fileprivate var hasFile: Bool { parts.contains { $0.status != .deleted } }

    /// Whether it is over, and each of its files has either been finished or is no longer expected to be.
    fileprivate func isRemovable(mayGoOn: Bool) -> Bool {
        let isOver =
            switch status {
            case .recording, .abandoned: false
            case .completed: true
            case .interrupted, .failed: endedAt != nil && !mayGoOn
            }
        return isOver && !parts.contains { $0.status == .recording || $0.isLeftForRecovery }
    }
}

extension CataloguePart {
    fileprivate var isLeftForRecovery: Bool { status == .failed && path.hasSuffix(".part") }
}
