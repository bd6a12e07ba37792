import Glibc
import HTTP
import Posix

/// A file that holds a bearer token, and is read again when it has changed.
struct BearerTokenFile {
    private let path: String
    private let log: Log
    private var token: BearerToken
    /// The file as it was when it was read; `nil` when it has to be read again in any case.
    private var version: Version?
    private var checkedAt: BootTime
    /// Why the file could not be read again, so that it is said once.
    private var trouble: String?

    private static let checkInterval = Duration.seconds(1)

    /// Tells two contents of a file apart; a secret that Kubernetes mounts changes by a symbolic link.
    private struct Version: Equatable {
        let device: UInt64
        let inode: UInt64
        let size: Int
        let modified: WallTime

        init(_ status: stat) {
            (device, inode) = (UInt64(status.st_dev), UInt64(status.st_ino))
            (size, modified) = (Int(status.st_size), status.modifiedAt)
        }

        /// Timestamps are coarse: a change in the same tick would not show.
        var isSettled: Bool { WallTime.now().nanoseconds > modified.nanoseconds + 100_000_000 }
    }

    /// - Throws: when there is no token in the file.
    init(path: String, log: Log) throws(StartError) {
        (self.path, self.log, checkedAt) = (path, log, .now())
        (token, version) = try Self.read(path)
        warnIfShared()
    }

    /// Warns of a file that every user of the machine can read.
    private func warnIfShared() {
        guard let status = try? FileSystem.status(of: path), status.isReadableByOthers else {
            return
        }
        log(.warn, "File with a secret is readable by all users", ["file": path])
    }

    /// The answer to a request without the token; `nil` for one with it.
    ///
    /// Looks at the file once a second at most; as long as it cannot be read, the last token holds.
    mutating func refusal(of request: Request, now: BootTime = .now()) -> Response? {
        if now.since(checkedAt) >= Self.checkInterval {
            checkedAt = now
            refresh()
        }
        return token.refusal(of: request)
    }

    private mutating func refresh() {
        if let version, let status = try? FileSystem.status(of: path), version == Version(status) {
            return
        }
        do throws(StartError) {
            (token, version) = try Self.read(path)
            warnIfShared()
            if trouble != nil { log(.info, "Bearer token readable again", ["file": path]) }
            trouble = nil
        } catch {
            version = nil
            guard trouble != error.description else { return }
            trouble = error.description
            log(.warn, "Bearer token not readable, the last one holds", ["error": "\(error)"])
        }
    }

    private static func read(_ path: String) throws(StartError) -> (BearerToken, Version?) {
        do throws(SystemError) {
            // Nonblocking, for the path may be that of a pipe.
            let file = try FileDescriptor(opening: path, O_RDONLY | O_NONBLOCK)
            let version = Version(try file.status())
            let content = try file.readAll(atMost: BearerToken.longest + 2)
            if let token = content.flatMap({ BearerToken($0) }) {
                return (token, version.isSettled ? version : nil)
            }
        } catch {
            throw StartError(description: "web.bearer-token-file \(path): \(error.reason)")
        }
        let rule = "1 to \(BearerToken.longest) visible ASCII characters"
        throw StartError(description: "web.bearer-token-file \(path): a token is \(rule)")
    }
}
