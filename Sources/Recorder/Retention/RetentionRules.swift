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
    /// Those that may not be removed count all the same. `mayGoOnSince` is the end of the oldest recording that its stream
    /// may still go on with: such a one stays.
    func doomed(
        of recordings: [CatalogueRecording],
        at now: UTCTime,
        mayGoOnSince: UTCTime
    ) -> [(recording: CatalogueRecording, reason: RetentionReason)] {
        let newestFirst = recordings.filter(\.hasFile).sorted { $0.id > $1.id }
        var reasons: [Int64: RetentionReason] = [:]
        for (stream, rules) in byStream {
            reasons.merge(rules.doomed(of: newestFirst.filter { $0.stream == stream }, at: now)) {
                first,
                _ in first
            }
        }
        // What a stream's own rules remove is no longer there to be counted.
        let rest = newestFirst.filter { reasons[$0.id] == nil || !$0.isRemovable(mayGoOnSince) }
        reasons.merge(overall.doomed(of: rest, at: now)) { first, _ in first }
        return newestFirst.reversed().compactMap { recording in
            guard recording.isRemovable(mayGoOnSince), let reason = reasons[recording.id] else {
                return nil
            }
            return (recording, reason)
        }
    }
}

extension RetentionRules {
    /// The newest recording is spared by count and size: a rule that is too small must not remove what was just recorded.
    fileprivate func doomed(
        of newestFirst: [CatalogueRecording],
        at now: UTCTime
    ) -> [Int64: RetentionReason] {
        var reasons: [Int64: RetentionReason] = [:]
        var bytes: UInt64 = 0
        for (index, recording) in newestFirst.enumerated() {
            bytes += UInt64(clamping: recording.storedBytes)
            let age = recording.endedAt.map { now.seconds - $0.seconds } ?? 0
            if let maxAge, Double(age) > maxAge.inSeconds {
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
    fileprivate func isRemovable(_ mayGoOnSince: UTCTime) -> Bool {
        let isOver =
            switch status {
            case .recording, .abandoned: false
            case .completed: true
            case .interrupted, .failed: endedAt.map { $0 < mayGoOnSince } ?? false
            }
        return isOver && !parts.contains { $0.status == .recording || $0.isLeftForRecovery }
    }
}

extension CataloguePart {
    fileprivate var isLeftForRecovery: Bool { status == .failed && path.hasSuffix(".part") }
}
