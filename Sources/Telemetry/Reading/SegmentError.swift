package import Posix

/// Why a segment gives no snapshot.
package enum SegmentError: Error, Equatable, CustomStringConvertible {
    /// A part of a segment whose checksum or content does not hold.
    package enum Part: String, Sendable {
        case header, lifecycle, families, series, recordings, history
    }

    /// There is no file.
    case missing
    /// The file could not be opened or read.
    case unreadable(SystemError)
    /// The file does not begin as a segment does.
    case notASegment
    /// Written in another major version of the layout.
    case unsupportedVersion(Int)
    /// The file is shorter than it says.
    case truncated
    /// Beyond the largest file that is read.
    case tooLarge
    case damaged(Part)
    /// The reader has no memory left for it.
    case noRoom

    /// Runs a system call on the file.
    static func wrapping<T>(_ call: () throws(SystemError) -> T) throws(SegmentError) -> T {
        do throws(SystemError) {
            return try call()
        } catch {
            throw .unreadable(error)
        }
    }

    /// A label value from a closed set.
    package var reason: String {
        switch self {
        case .missing: "missing"
        case .unreadable: "unreadable"
        case .notASegment: "not_a_segment"
        case .unsupportedVersion: "unsupported_version"
        case .truncated: "truncated"
        case .tooLarge: "too_large"
        case .damaged: "damaged"
        case .noRoom: "no_room"
        }
    }

    package static let reasons = [
        "missing", "unreadable", "not_a_segment", "unsupported_version", "truncated", "too_large",
        "damaged", "no_room",
    ]

    package var description: String {
        switch self {
        case .missing: "no such file"
        case .unreadable(let error): error.description
        case .notASegment: "not a telemetry segment"
        case .unsupportedVersion(let major): "layout version \(major) is not known here"
        case .truncated: "shorter than its header says"
        case .tooLarge: "larger than any segment"
        case .damaged(let part): "damaged: \(part.rawValue)"
        case .noRoom: "too large beside the segments that were seen before"
        }
    }
}
