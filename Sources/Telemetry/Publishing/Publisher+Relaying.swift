import Synchronization

/// A declared series of a family of any kind.
package enum Instrument: Sendable {
    case counter(Counter)
    case gauge(Gauge)
    case histogram(Histogram)
}

/// What an exporter needs that publishes for others: answers where a recorder is not to be bothered, and its memory back.
extension Publisher {
    /// Whether there is a file that others can read.
    package var isPublished: Bool { segment.isPublished }

    package var lifecycle: Lifecycle { segment.board.withLock { $0.lifecycle } }

    /// Declares a family without a series; `false` when there is no room for it, or its name has another shape.
    package func declare(_ family: MetricFamily) -> Bool {
        segment.board.withLock { board in
            if board.declarations.declare(family) != nil { return true }
            board.declarations.refuse()
            return false
        }
    }

    /// Declares a series, or finds it; `nil` when there is no room for it, or the family's name has another shape.
    package func instrument(_ family: MetricFamily, _ values: [String]) -> Instrument? {
        segment.board.withLock { board in
            guard board.declarations.word(of: family, values) != nil else { return nil }
            switch family.kind {
            case .histogram: return .histogram(board.histogram(family, values))
            case .gauge: return .gauge(Gauge(cell: board.cell(family, values)))
            case .counter, .info, .stateset:
                return .counter(Counter(cell: board.cell(family, values)))
            }
        }
    }

    /// The recordings that are open, by their number; of two with the same, one.
    package var openRecordings: [UInt64: RecordingPublisher] {
        segment.board.withLock { board in
            let open = board.openRecordings.map { slot, recording in
                let bytes = board.bytesCell(slot)
                return (recording.id, RecordingPublisher(self, slot: slot, bytes: bytes))
            }
            return Dictionary(open) { first, _ in first }
        }
    }

    /// Gives the memory back: neither the publisher nor a handle of it may be used afterwards.
    @unsafe package func releaseMemory() {
        unsafe segment.release()
    }
}

extension MetricFamily {
    /// Whether a segment can hold it, and an exposition show it.
    package var isPublishable: Bool { FamilyRecord.holds(self) }

    /// Whether a segment can hold a series with these label values.
    package static func holds(_ values: [String]) -> Bool { SeriesRecord.holds(values) }

    /// Whether the name is one that every segment has, derived from the run's records.
    package static func isReserved(_ name: String) -> Bool {
        RunMetrics.fixedFamilies[name] != nil
    }
}
