import Glibc
import Synchronization

/// Writes lines to standard output, and to a file if there is one, never waiting long for a reader that does not read.
///
/// A line is `ts=… level=… msg="…" key=value …` (logfmt): a constant message, then fields.
package final class Log: Sendable {
    package enum Level: String, Sendable {
        case debug, info, warn, error
    }

    private struct Outputs: ~Copyable {
        var file: FileDescriptor?
        var dropped = 0
    }

    private let outputs: Mutex<Outputs>

    /// Writes to standard output, and appends to `file` if there is one.
    package init(file: consuming FileDescriptor? = nil) {
        outputs = Mutex(Outputs(file: file))
    }

    /// One event, one line.
    package func callAsFunction(
        _ level: Level,
        _ message: String,
        _ fields: KeyValuePairs<String, String> = [:]
    ) {
        let stamp = WallTime.now().iso8601
        let rest = fields.map { " \($0)=\(quoteIfNeeded($1))" }.joined()
        plain("ts=\(stamp) level=\(level.rawValue) msg=\(quoteIfNeeded(message))\(rest)")
    }

    /// A line that is an interface of its own, word for word.
    package func plain(_ line: String) {
        outputs.withLock { outputs in
            var text = line + "\n"
            if outputs.dropped > 0 {
                text = "level=warn msg=\"Log lines dropped\" count=\(outputs.dropped)\n" + text
            }
            let bytes = Array(text.utf8)
            if canTake(STDOUT_FILENO), (try? write(all: bytes.span, to: STDOUT_FILENO)) != nil {
                outputs.dropped = 0
            } else {
                outputs.dropped += 1
            }
            if let file = outputs.file?.rawValue { try? write(all: bytes.span, to: file) }
        }
    }
}

/// Whether a write of a line will not block: a log whose reader hangs must not hang a recording.
private func canTake(_ descriptor: CInt) -> Bool {
    var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    return (try? retrying("poll") { unsafe poll(&entry, 1, 50) }) == 1
}

private func quoteIfNeeded(_ value: String) -> String {
    let needs =
        value.isEmpty || value.unicodeScalars.contains { $0 <= " " || $0 == "\"" || $0 == "=" }
    guard needs else { return value }
    let escaped = value.unicodeScalars.map { scalar in
        switch scalar {
        case "\"": "\\\""
        case "\\": "\\\\"
        case "\n": "\\n"
        case _ where scalar < " ": " "
        default: String(scalar)
        }
    }
    return "\"" + escaped.joined() + "\""
}
