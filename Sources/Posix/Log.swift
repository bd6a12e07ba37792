import Glibc
import Synchronization

/// Writes lines to standard output, and to a file if there is one; no caller waits for either.
///
/// A line is `ts=… level=… msg="…" key=value …` (logfmt): a constant message, then fields. It has at most 8 KiB. What an
/// output cannot take is dropped, counted, and reported in the same output once it takes lines again.
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

    /// Writes to standard output, and appends to the file of that name, which is created anew when it is renamed or removed.
    ///
    /// - Throws: when the file can never be opened, as in a directory that is missing; a disk that is full may have room later.
    package init(path: String) throws(SystemError) {
        standardOutput = LogOutput(.standardOutput())
        file = LogOutput(try LogDestination(path: path), reportingTo: standardOutput)
    }

    /// One event, one line.
    package func callAsFunction(
        _ level: Level,
        _ message: String,
        _ fields: KeyValuePairs<String, String> = [:]
    ) {
        append(logLine(level, message, fields.map { ($0, $1) }))
    }

    /// One event, one line, but not more often than `limiter` allows for the same message and `condition`.
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

    /// A line that is an interface of its own, word for word.
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

    /// Writes on threads from now on, one for each output: whatever an output does, no caller waits.
    ///
    /// Where there can be no thread, the callers go on writing as much as there is room for.
    package func startWriting() {
        standardOutput.startThread(named: "log")
        file?.startThread(named: "log-file")
    }

    /// Where lines wait for room, when there is no thread; `nil` when none do.
    ///
    /// To be polled for writing; then `resume()`.
    package var blockedDescriptor: CInt? { standardOutput.blockedDescriptor }

    /// Writes what waits, as far as there is room.
    package func resume() {
        standardOutput.drain()
    }

    /// Opens the file anew, without waiting for that: it may have been renamed.
    package func reopen() {
        file?.reopen()
    }

    /// Waits until all lines are written, but for `patience` at most: the last thing that a program does.
    package func flush(within patience: Duration) {
        let deadline = BootTime.now().advanced(by: patience)
        for output in [standardOutput, file].compactMap(\.self) { output.flush(until: deadline) }
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

/// A value of at most so many bytes as logfmt writes it: without its middle where it is longer.
private func logfmtValue(_ value: String, _ maxBytes: Int) -> String {
    var limit = maxBytes
    while true {
        let written = logfmtValue(shortened(value, to: limit))
        if written.utf8.count <= maxBytes { return written }
        // Quotes take two bytes; escapes make it up to six times as long.
        limit = limit == maxBytes ? limit - 2 : limit / 2
    }
}

/// A value in quotes where logfmt wants them, with the escapes of JSON strings, as parsers expect.
private func logfmtValue(_ value: String) -> String {
    let needsQuotes =
        value.isEmpty
        || value.unicodeScalars.contains {
            $0 == " " || $0 == "\"" || $0 == "=" || $0 == "\\" || $0.isInvisibleCommand
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
        case _ where scalar.isInvisibleCommand: quoted += scalar.hexadecimalEscape
        default: quoted.unicodeScalars.append(scalar)
        }
    }
    return quoted + "\""
}

/// Limits messages that repeat: each is logged at its first time, and then every ten minutes.
package final class LogLimiter: Sendable {
    package static let interval = Duration.seconds(600)
    /// Conditions that are remembered; beyond, the one that was logged first is forgotten.
    private static let maxConditions = 64

    private struct Condition {
        var loggedAt: BootTime
        var suppressed = 0
    }

    /// By a hash of the text, so that strangers' texts take no memory.
    private let conditions = Mutex<[Int: Condition]>([:])

    package init() {}

    /// How many repetitions were left out since the condition was last logged; `nil` when this one is left out, too.
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

    /// Whether the condition was logged in the last ten minutes, and would be left out now.
    package func isSuppressed(_ condition: String, at now: BootTime = .now()) -> Bool {
        conditions.withLock { conditions in
            conditions[condition.hashValue].map { now.since($0.loggedAt) < Self.interval } ?? false
        }
    }

    /// Whether the condition has not been logged in the last ten minutes, and is logged now.
    package func shouldLog(_ condition: String, at now: BootTime = .now()) -> Bool {
        check(condition, at: now) != nil
    }

    /// Forgets all conditions: what goes wrong next is logged at once.
    package func reset() {
        conditions.withLock { $0 = [:] }
    }

    /// A message as a condition: without its numbers, such as times, addresses and counts, but for status and exit codes.
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
