import Posix

/// Puts segments into parts: each part is of one encoding, and plays by itself.
struct PartWriter {
    private let sink: any MediaSink
    /// What the part under way began with; `nil` before the first.
    private var current: (container: MediaContainer, header: [UInt8]?)?
    /// The number of the latest segment that was written.
    private var latest: UInt64?
    /// Whether a break has come since the latest segment that was written.
    private var isBroken = false

    init(into sink: any MediaSink) {
        self.sink = sink
    }

    /// Takes note of a break that came with a segment which is not written.
    mutating func skip(_ segment: MediaSegment) {
        isBroken = isBroken || segment.isDiscontinuous
    }

    /// Writes a segment: after a break, or with another header, into a part of its own; where a split is due, into the next
    /// recording.
    mutating func write(_ unit: MediaUnit, of segment: MediaSegment) throws(SystemError) {
        let isSame = current.map { $0.container == unit.container && $0.header == unit.header }
        if sink.isSplitDue, sink.split(unit.container) {
            try begin(unit)
        } else if isBroken || segment.isDiscontinuous || isSame != true {
            try sink.beginPart(unit.container)
            try begin(unit)
        } else if latest.map({ segment.sequence != $0 + 1 }) ?? false {
            try markGap(before: unit)
        }
        try sink.append(unit.media.span)
        latest = segment.sequence
    }

    /// Fragments carry their times, and need no mark.
    private func markGap(before unit: MediaUnit) throws(SystemError) {
        guard unit.container == .mpegTS else { return }
        try sink.append(TransportStream.discontinuityMarkers(before: unit.media).span)
    }

    private mutating func begin(_ unit: MediaUnit) throws(SystemError) {
        (current, isBroken) = ((unit.container, unit.header), false)
        if let header = unit.header { try sink.append(header.span) }
    }
}
