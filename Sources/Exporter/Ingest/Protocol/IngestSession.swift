import JSON
import Posix
import StreamVaultTelemetry

/// What one connection has said so far: lines in, effects on a run, answers out; no descriptor in it.
struct IngestSession {
    /// Finds or makes the run of which a `hello` speaks.
    typealias Opening = (IngestHello) throws(IngestRefusal) -> IngestRun

    private let open: Opening
    private var stage = Stage.silent
    /// Of the line that was last read, from 1.
    private(set) var lineNumber = 0

    private enum Stage {
        /// No `hello` yet.
        case silent
        case running(IngestRun)
        case over
    }

    /// What there is to say about a line.
    enum Answer {
        case nothing
        /// It took effect, and its sender wants to know; `hello`, whether the run was there before.
        case done
        case greeted(isResumed: Bool)
        case refused(IngestRefusal)
    }

    init(_ open: @escaping Opening) {
        self.open = open
    }

    /// The run that is published now.
    var run: IngestRun? {
        guard case .running(let run) = stage else { return nil }
        return run
    }

    /// Reads a line; a line of white space says only that its sender lives.
    mutating func take(_ line: LineBuffer.Line, of bytes: [UInt8]) -> Answer {
        lineNumber += 1
        run?.heartbeat()
        switch line {
        case .tooLong:
            let most = LineBuffer.longestLine
            return .refused(IngestRefusal(.tooLong, "the line is longer than \(most) bytes"))
        case .whole(let range):
            if bytes[range].allSatisfy(JSONReader.isSpace) { return .nothing }
            do throws(IngestRefusal) {
                return try perform(try IngestRequest(bytes, in: range))
            } catch {
                return .refused(error)
            }
        }
    }

    private mutating func perform(_ request: IngestRequest) throws(IngestRefusal) -> Answer {
        try perform(request.message)
        guard request.wantsAnswer else { return .nothing }
        guard case .hello = request.message, let run else { return .done }
        return .greeted(isResumed: run.isResumed)
    }

    private mutating func perform(_ message: IngestMessage) throws(IngestRefusal) {
        switch (stage, message) {
        case (.silent, .hello(let hello)): stage = .running(try open(hello))
        case (.silent, _): throw IngestRefusal(.order, "hello comes first")
        case (.running(let run), .goodbye):
            try run.apply(message)
            stage = .over
        case (.running(let run), _): try run.apply(message)
        case (.over, _): throw IngestRefusal(.order, "goodbye has been said")
        }
    }
}
