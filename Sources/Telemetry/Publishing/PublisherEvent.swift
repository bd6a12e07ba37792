/// What became of a publisher's file while it ran, for its log and its metrics.
public struct PublisherEvent: Sendable {
    /// Why a new file was needed.
    public enum Cause: String, CaseIterable, Sendable {
        /// Nothing could be published at the start.
        case late
        /// The file, or its directory, was removed.
        case removed
        /// Another file, or another directory, has the name.
        case replaced
        /// The file was cut. What was counted since the last check, up to a second before, is lost.
        case truncated
        /// The file could not be looked up; it is the same as before.
        case unreachable
    }

    public enum Kind: Sendable {
        /// Readers find all counts again.
        case published(after: Cause)
        /// Readers find nothing, for this reason; the publisher tries again every second.
        case unpublished(String)
    }

    public let kind: Kind
    /// Whether the same was reported less than ten minutes ago: to be counted, not logged.
    public let isRepeated: Bool

    init(_ kind: Kind, isRepeated: Bool) {
        (self.kind, self.isRepeated) = (kind, isRepeated)
    }
}
