import Glibc
import Posix

/// A program that runs beside the recordings, at the lowest priority, until it ends or is no longer wanted.
struct BackgroundProgram {
    let arguments: [String]
    /// After this it is killed, and has failed.
    let patience: Duration

    enum Failure: Error, Equatable {
        case stopped
        case failed(String)
    }

    /// Runs it; what it wrote to its standard output, at most `mostOutput` bytes of it.
    ///
    /// A stop kills its whole process group at once.
    func run(until stop: StopSignal) throws(Failure) -> String {
        var child = try spawn()
        child.lowerPriority()
        let deadline = BootTime.now().advanced(by: patience)
        var output = KeptOutput()
        var errors = KeptOutput()
        while output.isOpen || errors.isOpen {
            let left = deadline.since(.now())
            guard left > .zero else { throw .failed("\(name) took more than \(patience.text)") }
            try wait(for: child, stop, left, &output, &errors)
        }
        guard child.wait() == .code(0) else {
            throw .failed("\(name) failed: \(errors.lastLine)")
        }
        return String(decoding: output.bytes, as: UTF8.self)
    }

    private var name: String { arguments.first ?? "" }

    private func spawn() throws(Failure) -> ChildProcess {
        do throws(SpawnError) {
            return try ChildProcess.spawn(arguments)
        } catch {
            throw .failed("\(name) cannot be started: \(error)")
        }
    }

    private func wait(
        for child: borrowing ChildProcess,
        _ stop: StopSignal,
        _ left: Duration,
        _ output: inout KeptOutput,
        _ errors: inout KeptOutput
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
        let milliseconds = CInt(clamping: left.wholeNanoseconds / 1_000_000 + 1)
        guard unsafe poll(&entries, 3, milliseconds) > 0 else { return }
        // The caller drops the child, which kills its group.
        guard entries[0].revents == 0 else { throw .stopped }
        if entries[1].revents != 0 { output.take(from: child.output) }
        if entries[2].revents != 0 { errors.take(from: child.errors) }
    }
}

/// What a program wrote to a pipe, as far as anybody wants to know it.
private struct KeptOutput {
    private(set) var bytes: [UInt8] = []
    private(set) var isOpen = true

    private static let most = 64 << 10

    var lastLine: String {
        let text = String(decoding: bytes.suffix(512), as: UTF8.self)
        return text.split(whereSeparator: \.isNewline).last.map(String.init) ?? "no message"
    }

    mutating func take(from pipe: borrowing FileDescriptor) {
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        let count = unsafe chunk.withUnsafeMutableBytes { buffer in
            unsafe try? pipe.read(into: buffer)
        }
        guard let count, count > 0 else {
            isOpen = false
            return
        }
        bytes += chunk[..<count]
        bytes.removeFirst(max(0, bytes.count - Self.most))
    }
}
