import Glibc
import Synchronization

/// Writes lines to standard output, and to a file if there is one; no caller waits for either.
///
/// A line is `ts=… level=… msg="…" key=value …` (logfmt): a constant message, then fields, at most 8 KiB. Lines that an
/// output cannot take are dropped and counted, and their number is written once it takes lines again.
package final class Log: Sendable {
    package enum Level: String, Sendable {
        case debug, info, warn, error
    }

    /// Of a line, with its line feed.
    package static let maxLineBytes = 8192

    private let standardOutput: LogOutput
    private let file: LogOutput?

    /// Writes to standard output, and appends to `file` if there is one.
    package init(file: consuming FileDescriptor? = nil) {
        standardOutput = LogOutput(.standardOutput())
        if let file {
            self.file = LogOutput(LogDestination(file, path: nil))
        } else {
            self.file = nil
        }
    }

    /// Writes to standard output, and appends to the file at `path`, which is created again if it is renamed or removed.
    ///
    /// - Throws: if the file cannot be opened for a lasting reason, such as a missing directory; a full disk is none.
    package init(path: String) throws(SystemError) {
        standardOutput = LogOutput(.standardOutput())
        file = LogOutput(try LogDestination(path: path), reportingTo: standardOutput)
    }

    /// Writes one line for one event.
    package func callAsFunction(
        _ level: Level,
        _ message: String,
        _ fields: KeyValuePairs<String, String> = [:]
    ) {
        append(logLine(level, message, fields.map { ($0, $1) }))
    }

    /// Writes one line for one event, unless `limiter` suppresses the same message and `condition`.
    package func callAsFunction(
        _ level: Level,
        _ message: String,
        _ fields: KeyValuePairs<String, String> = [:],
        limitedBy limiter: LogLimiter,
        condition: String
    ) {
        guard let repeated = limiter.check("\(message): \(condition)") else { return }
        let count = repeated == 0 ? [] : [("repeated", "\(repeated)")]
        append(logLine(level, message, fields.map { ($0, $1) } + count))
    }

    /// Writes a line word for word.
    package func plain(_ line: String) {
        append(shortened(visible(line), to: Self.maxLineBytes - 1) + "\n")
    }

    private func append(_ line: String) {
        let bytes = Array(line.utf8)
        standardOutput.append(bytes)
        file?.append(bytes)
    }
}

extension Log {
    /// Lines that were dropped since the last call, by output.
    package func takeDroppedLines() -> (standardOutput: UInt64, file: UInt64) {
        (standardOutput.takeDroppedLines(), file?.takeDroppedLines() ?? 0)
    }

    /// Writes on threads from now on, one for each output, so that no output delays a caller.
    ///
    /// If no thread can be started, callers continue to write as far as the output takes it without waiting.
    package func startWriting() {
        standardOutput.startThread(named: "log")
        file?.startThread(named: "log-file")
    }

    /// The descriptor of an output that has no room for waiting lines, if there is no thread; `nil` if none wait.
    ///
    /// To be watched for writing; then call `resume()`.
    package var blockedDescriptor: CInt? { standardOutput.blockedDescriptor }

    /// Writes waiting lines as far as there is room.
    package func resume() {
        standardOutput.drain()
    }

    /// Opens the file again, because it may have been renamed; does not wait for that.
    package func reopen() {
        file?.reopen()
    }

    /// Waits until all lines are written, or for `timeout`: the last statement of a program.
    package func flush(within timeout: Duration) {
        let deadline = BootTime.now().advanced(by: timeout)
        for output in [standardOutput, file].compactMap(\.self) { output.flush(until: deadline) }
    }
}

/// Limits repeated messages: each is logged the first time, and then every ten minutes.
package final class LogLimiter: Sendable {
    package static let interval = Duration.seconds(600)
    /// The number of conditions that are remembered; beyond it the one logged first is forgotten.
    private static let maxConditions = 64

    private struct Condition {
        var loggedAt: BootTime
        var suppressed = 0
    }

    /// By a hash of the text, so that texts from outside take no memory.
    private let conditions = Mutex<[Int: Condition]>([:])

    package init() {}

    /// The number of repetitions suppressed since the condition was last logged; `nil` if this one is suppressed, too.
    package func check(_ condition: String, at now: BootTime = .now()) -> Int? {
        let key = condition.hashValue
        return conditions.withLock { conditions in
            if let known = conditions[key], now.since(known.loggedAt) < Self.interval {
                conditions[key]?.suppressed += 1
                return nil
            }
            let suppressed = conditions[key]?.suppressed ?? 0
            if conditions[key] == nil, conditions.count >= Self.maxConditions,
                let oldest = conditions.min(by: { $0.value.loggedAt < $1.value.loggedAt })
            {
                conditions[oldest.key] = nil
            }
            conditions[key] = Condition(loggedAt: now)
            return suppressed
        }
    }

    /// Whether the condition was logged in the last ten minutes, and would be suppressed now.
    package func isSuppressed(_ condition: String, at now: BootTime = .now()) -> Bool {
        conditions.withLock { conditions in
            conditions[condition.hashValue].map { now.since($0.loggedAt) < Self.interval } ?? false
        }
    }

    /// Whether the condition was not logged in the last ten minutes; if so, it counts as logged now.
    package func shouldLog(_ condition: String, at now: BootTime = .now()) -> Bool {
        check(condition, at: now) != nil
    }

    /// Forgets all conditions, so that the next failure is logged at once.
    package func reset() {
        conditions.withLock { $0 = [:] }
    }

    /// A message as a condition: without numbers such as times, addresses and counts, but with status and exit codes.
    package static func withoutNumbers(_ message: String) -> String {
        var previous: Substring = ""
        return message.split(separator: " ", omittingEmptySubsequences: false).map { word in
            defer { previous = word }
            if ["status", "code", "signal"].contains(previous) { return String(word) }
            return replacingNumbers(in: word)
        }.joined(separator: " ")
    }

    /// Replaces each run of letters and digits that has a digit.
    private static func replacingNumbers(in word: Substring) -> String {
        guard word.utf8.contains(where: isDigit) else { return String(word) }
        var result = ""
        var run = ""
        for character in word {
            if character.isLetter || character.isNumber {
                run.append(character)
            } else {
                result += run.utf8.contains(where: isDigit) ? "#" : run
                result.append(character)
                run = ""
            }
        }
        return result + (run.utf8.contains(where: isDigit) ? "#" : run)
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}

/// A line with its line feed, of at most `Log.maxLineBytes`: long values lose their middle, and the last fields go.
func logLine(_ level: Log.Level, _ message: String, _ fields: [(String, String)]) -> String {
    let maxValueBytes = 2048
    let end = " cut=true\n"
    var line = "ts=\(WallTime.now().iso8601) level=\(level.rawValue)"
    for (key, value) in [("msg", message)] + fields {
        let field = " \(key)=\(logfmtValue(value, maxValueBytes))"
        guard line.utf8.count + field.utf8.count + end.utf8.count <= Log.maxLineBytes else {
            return line + end
        }
        line += field
    }
    return line + "\n"
}

/// A value in logfmt with at most `maxBytes`; a longer one loses its middle.
private func logfmtValue(_ value: String, _ maxBytes: Int) -> String {
    var limit = maxBytes
    while true {
        let written = logfmtValue(shortened(value, to: limit))
        if written.utf8.count <= maxBytes { return written }
        // Quotes take two bytes; escapes make it up to six times as long.
        limit = limit == maxBytes ? limit - 2 : limit / 2
    }
}

/// A value in logfmt: in quotes if it needs them, with the escapes of JSON strings, as parsers expect.
private func logfmtValue(_ value: String) -> String {
    let needsQuotes =
        value.isEmpty
        || value.unicodeScalars.contains {
            $0 == " " || $0 == "\"" || $0 == "=" || $0 == "\\" || $0.isControl
        }
    guard needsQuotes else { return value }
    var quoted = "\""
    for scalar in value.unicodeScalars {
        switch scalar {
        case "\"": quoted += "\\\""
        case "\\": quoted += "\\\\"
        case "\n": quoted += "\\n"
        case "\r": quoted += "\\r"
        case "\t": quoted += "\\t"
        case _ where scalar.isControl: quoted += scalar.hexadecimalEscape
        default: quoted.unicodeScalars.append(scalar)
        }
    }
    return quoted + "\""
}

extension Unicode.Scalar {
    /// Whether a terminal or a browser interprets the character instead of displaying it.
    ///
    /// Control characters (C0 with ESC, DEL and C1), line and paragraph separators, and format characters, among them all
    /// that change the direction of the text; but not the joiners, which emoji and some scripts need.
    package var isControl: Bool {
        if value < 0x20 || value == 0x7F { return true }
        guard value >= 0x80, value != 0x200C, value != 0x200D else { return false }
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: return true
        default: return false
        }
    }

    /// The escape of JSON and logfmt: four hexadecimal digits, or two such escapes.
    package var hexadecimalEscape: String {
        String(self).utf16.map { unit in
            let digits = String(unit, radix: 16)
            return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }.joined()
    }
}

/// The text with escapes such as `\u001b` in place of control characters; for output that is neither JSON nor logfmt.
package func visible(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: \.isControl) else { return text }
    return text.unicodeScalars.map { $0.isControl ? $0.hexadecimalEscape : String($0) }
        .joined()
}

/// The text in at most `maxBytes`; a longer one loses its middle, because errors give their reason at the end.
package func shortened(_ text: String, to maxBytes: Int) -> String {
    guard text.utf8.count > maxBytes, maxBytes > 8 else { return text }
    let tail = (maxBytes - 3) / 4
    var start = text.utf8.index(text.startIndex, offsetBy: maxBytes - 3 - tail)
    var end = text.utf8.index(text.endIndex, offsetBy: -tail)
    while start.samePosition(in: text.unicodeScalars) == nil { text.utf8.formIndex(before: &start) }
    while end.samePosition(in: text.unicodeScalars) == nil { text.utf8.formIndex(after: &end) }
    return text[..<start] + "…" + text[end...]
}
