/// Why the catalogue could not do what it was asked.
enum CatalogueError: Error, Equatable, CustomStringConvertible {
    /// SQLite refused; the message is its own.
    case database(Reason, message: String)
    /// A borrowed connection was not given back in time.
    case connectionPoolExhausted
    /// The pool has been closed.
    case closed
    /// A newer recorder wrote the file: its schema has this version.
    case newerSchema(version: Int64)

    /// The label of the metric.
    enum Reason: String, CaseIterable, Sendable {
        case busy, full, corrupt, readonly, io, other
    }

    var reason: Reason {
        switch self {
        case .database(let reason, _): reason
        case .connectionPoolExhausted: .busy
        case .closed, .newerSchema: .other
        }
    }

    /// The words of the log line, which operators search for.
    var description: String {
        switch self {
        case .database(let reason, let message): "\(reason.rawValue): \(message)"
        case .connectionPoolExhausted: "connection pool exhausted"
        case .closed: "the catalogue is closed"
        case .newerSchema(let version): "the catalogue is of a newer recorder (schema \(version))"
        }
    }
}
