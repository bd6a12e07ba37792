import Glibc
import Posix

/// A program that runs beside the recordings, at the lowest priority, until it ends or is no longer wanted.
struct BackgroundProgram {
    let arguments: [String]
    /// After this it is killed, and has failed.
    let patience: Duration
    /// Open files that the program gets as its descriptors 3, 4, …; their owner keeps them open until it has started.
    var files: [CInt] = []

    enum Failure: Error, Equatable {
        case stopped
        case failed(String)
    }

    /// The path under which the program finds the `index`-th of its `files`, whatever happens to their names.
    static func path(ofFile index: Int) -> String { "file:/proc/self/fd/\(3 + index)" }

    /// Runs it to its end; `eachLine` gets what it writes to its standard output.
    ///
    /// A stop kills its whole process group at once.
    func run(
        until stop: StopSignal,
        eachLine: (String) -> Void = { _ in }
    ) throws(Failure) {
        var child = try spawn()
        child.lowerPriority()
        let deadline = BootTime.now().advanced(by: patience)
        var output = OutputLines()
        var errors = OutputLines()
        var lastError = "no message"
        while output.isOpen || errors.isOpen {
            guard BootTime.now() < deadline else { throw tooLong }
            try wait(for: child, stop, deadline, &output, &errors)
            output.takeLines(eachLine)
            errors.takeLines { if !$0.isEmpty { lastError = $0 } }
        }
        // A program may close its output and go on.
        while !child.hasExited() {
            guard BootTime.now() < deadline else { throw tooLong }
            let look = BootTime.now().advanced(by: .milliseconds(20))
            if stop.wait(until: min(look, deadline)) { throw .stopped }
        }
        guard child.wait() == .code(0) else { throw .failed("\(name) failed: \(lastError)") }
    }

    private var name: String { arguments.first ?? "" }

    private var tooLong: Failure { .failed("\(name) took more than \(patience.text)") }

    private func spawn() throws(Failure) -> Subprocess {
        do throws(SpawnError) {
            return try Subprocess.spawn(arguments, inheriting: files)
        } catch {
            throw .failed("\(name) cannot be started: \(error)")
        }
    }

    private func wait(
        for child: borrowing Subprocess,
        _ stop: StopSignal,
        _ deadline: BootTime,
        _ output: inout OutputLines,
        _ errors: inout OutputLines
    ) throws(Failure) {
        let readable = Int16(POLLIN)
        var entries = [
            pollfd(fd: stop.readableDescriptor, events: readable, revents: 0),
            pollfd(
                fd: output.isOpen ? child.output.rawValue : -1,
                events: readable,
                revents: 0
            ),
            pollfd(
                fd: errors.isOpen ? child.errors.rawValue : -1,
                events: readable,
                revents: 0
            ),
        ]
        let left = deadline.since(.now()).wholeNanoseconds / 1_000_000
        guard unsafe poll(&entries, 3, CInt(clamping: left + 1)) > 0 else { return }
        // The caller drops the child, which kills its group.
        guard entries[0].revents == 0 else { throw .stopped }
        if entries[1].revents != 0 { output.fill(from: child.output) }
        if entries[2].revents != 0 { errors.fill(from: child.errors) }
    }
}

/// What a program writes to a pipe, line by line; of a line without an end the last 4 KiB are kept.
private struct OutputLines {
    private(set) var isOpen = true
    private var bytes: [UInt8] = []

    private static let maxLineBytes = 4096

    mutating func fill(from pipe: borrowing FileDescriptor) {
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        let count = unsafe chunk.withUnsafeMutableBytes { buffer in
            unsafe try? pipe.read(into: buffer)
        }
        guard let count, count > 0 else {
            isOpen = false
            return
        }
        bytes += chunk[..<count]
    }

    /// Gives the complete lines to `body`, and at the end of the output what is left.
    mutating func takeLines(_ body: (String) -> Void) {
        var rest = bytes[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            body(text(rest[..<end]))
            rest = rest[(end + 1)...]
        }
        if !isOpen, !rest.isEmpty {
            body(text(rest))
            rest = []
        }
        bytes = Array(rest.suffix(Self.maxLineBytes))
    }

    private func text(_ line: ArraySlice<UInt8>) -> String {
        String(decoding: line.suffix(Self.maxLineBytes), as: UTF8.self)
    }
}
