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
        var loop = EventLoop()
        // A program may close its output and go on.
        while output.isOpen || errors.isOpen || !child.hasExited() {
            guard BootTime.now() < deadline else { throw tooLong }
            loop.begin()
            loop.watch(stop.readableDescriptor, for: .reading)
            loop.watch(child.output.rawValue, for: output.isOpen ? .reading : .nothing)
            loop.watch(child.errors.rawValue, for: errors.isOpen ? .reading : .nothing)
            let waitsForEnd = !output.isOpen && !errors.isOpen
            if waitsForEnd, let exit = child.exitDescriptor { loop.watch(exit, for: .reading) }
            let mustAsk = waitsForEnd && child.exitDescriptor == nil
            let limit = mustAsk ? BootTime.now().advanced(by: .milliseconds(50)) : deadline
            _ = try? loop.wait(until: min(limit, deadline))
            // The child is dropped, which kills its group.
            if loop.isReady(0) { throw .stopped }
            if loop.isReady(1) { output.fill(from: child.output) }
            if loop.isReady(2) { errors.fill(from: child.errors) }
            output.takeLines(eachLine)
            errors.takeLines { if !$0.isEmpty { lastError = $0 } }
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
