/// Why a publisher does not start.
///
/// A directory that is missing, full or read-only is no reason: see `Publisher.trouble`.
public enum PublisherError: Error, Equatable, CustomStringConvertible {
    /// Names are `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, at most 63 characters.
    case invalidName(String)
    /// A recorder of this name is running.
    case nameTaken(String)
    /// At most 16 phases, each with a different name of at most 31 bytes.
    case invalidPhases

    public var description: String {
        switch self {
        case .invalidName(let name):
            "invalid recorder name \"\(name)\": [a-z0-9]([a-z0-9-]*[a-z0-9])?, at most 63 characters"
        case .nameTaken(let name):
            "a recorder named \"\(name)\" is already running on this telemetry directory"
        case .invalidPhases:
            "a shutdown has at most 16 phases with different names of at most 31 bytes"
        }
    }
}

/// A phase of a shutdown, declared at the start, so that its series exist before anything happens.
public struct ShutdownPhase: Hashable, Sendable {
    public let name: String
    public let budget: Duration

    public init(_ name: String, budget: Duration) {
        (self.name, self.budget) = (name, budget)
    }
}
