import JSON
import Posix
import StreamVaultTelemetry

/// The protocol of one connection, without input and output: lines in, effects on a run and replies out.
struct IngestSession {
    /// Finds or creates the run that a `hello` names.
    typealias Opening = (IngestHello) throws(IngestError) -> IngestRun

    private let open: Opening
    private var stage = Stage.awaitingHello
    /// The number of the last line, from 1.
    private(set) var lineNumber = 0

    private enum Stage {
        case awaitingHello
        case running(IngestRun)
        case finished
    }

    /// The result of a line.
    enum Outcome {
        /// It was applied, or was empty, and needs no reply.
        case applied
        /// It was applied, and its sender requested a reply.
        case acknowledged
        /// A `hello` was applied, and its sender requested a reply.
        case greeted(isResumed: Bool)
        case refused(IngestError)
    }

    init(_ open: @escaping Opening) {
        self.open = open
    }

    /// The run that is being published.
    var run: IngestRun? {
        guard case .running(let run) = stage else { return nil }
        return run
    }

    /// Applies a line; each one is a heartbeat, also a line of white space.
    mutating func process(_ line: LineBuffer.Line, of bytes: [UInt8]) -> Outcome {
        lineNumber += 1
        run?.heartbeat()
        switch line {
        case .tooLong:
            let max = LineBuffer.maxLineBytes
            return .refused(IngestError(.tooLong, "the line is longer than \(max) bytes"))
        case .complete(let range):
            if bytes[range].allSatisfy(JSONReader.isSpace) { return .applied }
            do throws(IngestError) {
                let request = try IngestRequest(bytes, in: range)
                try apply(request.message)
                guard request.wantsReply else { return .applied }
                guard case .hello = request.message, let run else { return .acknowledged }
                return .greeted(isResumed: run.isResumed)
            } catch {
                return .refused(error)
            }
        }
    }

    private mutating func apply(_ message: IngestMessage) throws(IngestError) {
        switch (stage, message) {
        case (.awaitingHello, .hello(let hello)): stage = .running(try open(hello))
        case (.awaitingHello, _): throw IngestError(.order, "the first message must be hello")
        case (.running(let run), .goodbye):
            try run.apply(message)
            stage = .finished
        case (.running(let run), _): try run.apply(message)
        case (.finished, _): throw IngestError(.order, "the run has ended with goodbye")
        }
    }

    /// The reply to a line; `nil` when it gets none.
    static func reply(_ outcome: Outcome, toLine number: Int) -> [UInt8]? {
        var reply: JSONValue = ["line": .integer(number)]
        switch outcome {
        case .applied: return nil
        case .acknowledged: reply["ok"] = true
        case .greeted(let isResumed):
            reply["ok"] = true
            reply["resumed"] = .boolean(isResumed)
        case .refused(let error):
            reply["reason"] = .string(error.reason.rawValue)
            reply["error"] = .string(error.text)
        }
        return JSONWriter.write(reply, .line)
    }
}

/// Why a line was refused; it then has no effect.
package struct IngestError: Error, Equatable {
    /// The kind of the error: a label value of the metrics.
    package enum Reason: String, CaseIterable, Sendable {
        case tooLong = "too_long"
        /// The line is not one JSON object.
        case json
        /// An unknown message, or a missing, unknown or invalid field.
        case message
        /// Out of order: before `hello`, after `goodbye`, a phase outside of a shutdown, a metric that was not declared.
        case order
        /// Another process with this name is connected.
        case name
        /// The segment, or the exporter, has no room.
        case room
        /// The segment cannot be written.
        case segment
    }

    package let reason: Reason
    /// One line for people.
    let text: String

    init(_ reason: Reason, _ text: String) {
        (self.reason, self.text) = (reason, text)
    }
}
