import Glibc
package import Posix

/// Why a recording's file could not be made, or be brought to its final name.
package struct FinalizeError: Error, Equatable, CustomStringConvertible {
    /// The label of the metric.
    package enum Reason: String, CaseIterable, Sendable {
        case timeout
        case fileLocked = "file_locked"
        case noSpace = "no_space"
        case permission
        case io
        case invalidMedia = "invalid_media"
        case other

        /// The words of the log line, which operators search for.
        var words: String {
            switch self {
            case .timeout: "timeout"
            case .fileLocked: "file locked"
            case .noSpace: "no space left"
            case .permission: "permission denied"
            case .io: "input/output error"
            case .invalidMedia: "invalid media"
            case .other: "unexpected error"
            }
        }
    }

    package let reason: Reason
    /// What happened to which file, for a field of the log line.
    package let detail: String

    /// The words of the log line: `file locked`.
    package var description: String { reason.words }

    package init(_ reason: Reason, detail: String) {
        self.reason = reason
        self.detail = detail
    }

    package init(_ error: SystemError) {
        self.init(Reason(code: error.code), detail: error.description)
    }
}

extension FinalizeError.Reason {
    /// The reason that an `errno` stands for.
    package init(code: CInt) {
        self =
            switch code {
            case ENOSPC, EDQUOT: .noSpace
            case EACCES, EPERM, EROFS: .permission
            case EWOULDBLOCK, EBUSY, ETXTBSY, EDEADLK: .fileLocked
            case EIO, ENXIO, ENODEV, ESTALE, EREMOTEIO: .io
            case ETIMEDOUT: .timeout
            default: .other
            }
    }
}
