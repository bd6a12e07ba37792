import Foundation
import Posix
import Synchronization
import TestSupport

@testable import Media
@testable import Recorder

/// What a source delivered, and how it ended.
struct RunOutcome: Sendable {
    enum Ending: Equatable {
        case ended, stopped
        case failed(String)
        /// What the test's storage threw.
        case notStored(SystemError)
    }

    let ending: Ending
    let bytes: [UInt8]
    let took: Duration

    var text: String { String(decoding: bytes, as: UTF8.self) }
}

/// Reads a program's output to its end on a thread of its own, as a stream does.
///
/// `onOutput` is called with the number of bytes so far, and may throw as a full disk does.
func run(
    _ arguments: [String],
    steps: [StopStep] = StopStep.standard,
    orphanTimeout: Duration = .seconds(2),
    until stop: StopSignal,
    onLine: @escaping @Sendable (String) -> Void,
    onOutput: @escaping @Sendable (Int) throws(SystemError) -> Void = { _ in }
) async -> RunOutcome {
    await onThread {
        var bytes: [UInt8] = []
        let start = BootTime.now()
        let ending = Result { () throws(CommandError) in
            var reader = try CommandReader(arguments, steps: steps, orphanTimeout: orphanTimeout)
            while true {
                switch reader.next(until: stop, cutting: false) {
                case .output(let media):
                    bytes += media
                    do throws(SystemError) {
                        try onOutput(bytes.count)
                    } catch {
                        return RunOutcome.Ending.notStored(error)
                    }
                case .errorLine(let line): onLine(line)
                case .cut, .noCutFound: break
                case .ended: return .ended
                case .stopped: return .stopped
                case .failed(let error): return .failed(error.description)
                }
            }
        }
        let outcome: RunOutcome.Ending =
            switch ending {
            case .success(let ending): ending
            case .failure(let error): .failed(error.description)
            }
        return RunOutcome(ending: outcome, bytes: bytes, took: BootTime.now().since(start))
    }
}
