import Glibc
import Synchronization

/// One output of the log: a bounded queue that a thread, or the callers, write to its destination.
final class LogOutput: Sendable {
    private let queue = Mutex(LineQueue())
    private let destination: Mutex<LogDestination>
    /// Without a thread: the descriptor of the destination while it has no room, otherwise -1.
    private let blocked = Atomic<CInt>(-1)
    private let isReopenRequested = Atomic(false)
    private let wakeup = Mutex<Pipe?>(nil)
    private let hasThread = Atomic(false)
    /// What `flush` waits for; a byte comes when the thread has written everything.
    private let flushed = Mutex<Pipe?>(nil)
    /// Where failures of this output are reported.
    private let reports: LogOutput?
    private let reported = LogLimiter()

    init(_ destination: consuming LogDestination, reportingTo reports: LogOutput? = nil) {
        self.destination = Mutex(destination)
        self.reports = reports
    }

    func takeDroppedLines() -> UInt64 { queue.withLock { $0.takeDroppedLines() } }

    var blockedDescriptor: CInt? {
        let descriptor = blocked.load(ordering: .relaxed)
        return descriptor == -1 ? nil : descriptor
    }

    func append(_ line: [UInt8]) {
        queue.withLock { $0.append(line) }
        if hasThread.load(ordering: .acquiring) { wake() } else { drain() }
    }

    func reopen() {
        isReopenRequested.store(true, ordering: .releasing)
        if hasThread.load(ordering: .acquiring) { wake() } else { drain() }
    }

    /// Writes waiting lines as far as there is room, and notes the descriptor that has none.
    func drain() {
        blocked.store(write() ?? -1, ordering: .relaxed)
    }

    func startThread(named name: String) {
        do throws(SystemError) {
            let reader = try wakeup.withLock { wakeup throws(SystemError) in
                let pipe = try Pipe()
                try pipe.writer.makeNonblocking()
                let reader = pipe.reader.rawValue
                wakeup = consume pipe
                return reader
            }
            hasThread.store(true, ordering: .releasing)
            try DetachedThread.start(named: name) { [self] in
                while true {
                    while let descriptor = write() { waitForRoom(in: descriptor) }
                    flushed.withLock { Self.send(to: $0) }
                    waitForLines(reader)
                }
            }
        } catch {
            hasThread.store(false, ordering: .releasing)
        }
    }

    /// Waits until all lines and the report of dropped ones are written, or until `deadline`.
    func flush(until deadline: BootTime) {
        queue.withLock { $0.reportsLoss = true }
        if hasThread.load(ordering: .acquiring) {
            waitForThread(until: deadline)
        } else {
            var room = EventLoop()
            while let descriptor = write(), BootTime.now() < deadline {
                room.begin()
                room.watch(descriptor, for: .writing)
                _ = try? room.wait(until: deadline)
            }
        }
    }

    /// If there is no descriptor for a pipe, it waits until `deadline`.
    private func waitForThread(until deadline: BootTime) {
        var end = EventLoop()
        let reader = flushed.withLock { flushed -> CInt? in
            guard let pipe = try? Pipe(), (try? pipe.reader.makeNonblocking()) != nil else {
                return nil
            }
            let reader = pipe.reader.rawValue
            flushed = consume pipe
            return reader
        }
        if let reader { end.watch(reader, for: .reading) }
        wake()  // The thread then reports once more that it is done.
        while !queue.withLock({ $0.isIdle }), BootTime.now() < deadline {
            _ = try? end.wait(until: deadline)
            var bytes: UInt64 = 0
            if let reader { _ = unsafe read(reader, &bytes, 8) }
        }
        flushed.withLock { $0 = nil }
    }

    private func wake() {
        wakeup.withLock { Self.send(to: $0) }
    }

    /// Sends a byte; a full pipe wakes as well.
    private static func send(to pipe: borrowing Pipe?) {
        let byte: [UInt8] = [1]
        switch pipe {
        case .some(let pipe): try? pipe.writer.writeAll(byte.span)
        case nil: break
        }
    }

    private func waitForLines(_ descriptor: CInt) {
        var bytes: (UInt64, UInt64) = (0, 0)
        _ = unsafe Glibc.read(descriptor, &bytes, 16)
    }

    private func waitForRoom(in descriptor: CInt) {
        var room = EventLoop()
        room.watch(descriptor, for: .writing)
        _ = try? room.wait(until: nil)
    }

    /// Writes all batches that wait.
    ///
    /// - Returns: the descriptor that has no room for the rest; `nil` when nothing is left.
    private func write() -> CInt? {
        var failures: [String] = []
        defer { for failure in failures { report(failure) } }
        return destination.withLock { destination in
            if isReopenRequested.exchange(false, ordering: .acquiring) {
                destination.reopen().map { failures.append($0) }
            }
            while true {
                if destination.batch == nil { destination.batch = queue.withLock { $0.take() } }
                guard destination.batch != nil else { return nil }
                destination.followName().map { failures.append($0) }
                do throws(SystemError) {
                    guard try destination.writeBatch() else { return destination.descriptor }
                } catch {
                    failures.append("\(error)")
                }
                if let batch = destination.batch.take() { queue.withLock { $0.finish(batch) } }
            }
        }
    }

    private func report(_ failure: String) {
        guard let reports, reported.shouldLog(failure) else { return }
        let line = logLine(.error, "Log file not written", [("error", failure)])
        reports.append(Array(line.utf8))
    }
}

/// A bounded queue of lines to be written; pure.
struct LineQueue {
    /// Lines that are written together, and the progress of that.
    struct Batch {
        var bytes: [UInt8]
        var written = 0
        /// The numbers of lines that were dropped before and after it, which its first and last line report.
        let lostBefore: Int
        let lostBehind: Int
        let lengthOfFirst: Int

        /// The number of lines that were not written completely, and the number in reports that were not.
        var lost: (lines: Int, reported: Int) {
            var lines = bytes[written...].count { $0 == UInt8(ascii: "\n") }
            guard lines > 0 else { return (0, 0) }
            var reported = 0
            if lostBefore > 0, written < lengthOfFirst {
                (lines, reported) = (lines - 1, lostBefore)
            }
            if lostBehind > 0 { (lines, reported) = (lines - 1, reported + lostBehind) }
            return (lines, reported)
        }
    }

    /// The most bytes that wait; as many again may be with the writer.
    static let capacity = 256 << 10

    private var bytes: [UInt8] = []
    private var lostBefore = 0
    private var lostBehind = 0
    private var isWriting = false
    /// Whether dropped lines get a batch of their own: at the end, when no further line comes.
    var reportsLoss = false
    private var droppedLines: UInt64 = 0

    var isIdle: Bool {
        bytes.isEmpty && !isWriting && !(reportsLoss && lostBefore + lostBehind > 0)
    }

    /// Adds a line with its line feed; after a dropped one all are dropped until the writer takes a batch.
    mutating func append(_ line: [UInt8]) {
        guard lostBehind == 0, bytes.count + line.count <= Self.capacity else {
            lostBehind += 1
            droppedLines += 1
            return
        }
        bytes += line
    }

    /// Lines that were dropped since the last call.
    mutating func takeDroppedLines() -> UInt64 {
        defer { droppedLines = 0 }
        return droppedLines
    }

    mutating func take() -> Batch? {
        guard !bytes.isEmpty || reportsLoss && lostBefore + lostBehind > 0 else { return nil }
        let first = lostBefore == 0 ? [] : Self.report(lostBefore)
        let last = lostBehind == 0 ? [] : Self.report(lostBehind)
        let batch = Batch(
            bytes: first + bytes + last,
            lostBefore: lostBefore,
            lostBehind: lostBehind,
            lengthOfFirst: first.count
        )
        bytes.removeAll(keepingCapacity: bytes.count < 1 << 14)
        (lostBefore, lostBehind, reportsLoss, isWriting) = (0, 0, false, true)
        return batch
    }

    /// Notes that a batch was written or abandoned.
    mutating func finish(_ batch: Batch) {
        let (lines, reported) = batch.lost
        droppedLines += UInt64(lines)
        lostBefore += lines + reported
        isWriting = false
    }

    private static func report(_ count: Int) -> [UInt8] {
        Array(logLine(.warn, "Log lines dropped", [("count", "\(count)")]).utf8)
    }
}

/// The destination of an output: standard output, or a file that is found again by its name.
struct LogDestination: ~Copyable {
    private enum Kind {
        /// Writes fail with `EAGAIN` if there is no room.
        case nonblocking
        /// A socket: `send(2)` does not wait if it is told so.
        case socket
        /// Polled before each write, of at most so many bytes.
        case polled(chunk: Int)
    }

    private var file: FileDescriptor?
    private var kind: Kind
    private let path: String?
    /// Whether a line was written partly, so that the next one needs a line feed before it.
    private var isMidLine = false
    var batch: LineQueue.Batch?

    private static let openFlags = O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY

    init(_ file: consuming FileDescriptor, path: String?) {
        self.file = consume file
        (self.path, kind) = (path, .nonblocking)
    }

    /// - Throws: if the file cannot be opened for a lasting reason.
    init(path: String) throws(SystemError) {
        (self.path, kind) = (path, .nonblocking)
        do throws(SystemError) {
            file = try Self.open(path)
        } catch {
            let passes =
                error.isResourceShortage || [ENOSPC, EDQUOT, EIO, EROFS].contains(error.code)
            guard passes else { throw error }
        }
    }

    private init(_ file: consuming FileDescriptor?, kind: Kind) {
        self.file = file
        (self.kind, path) = (kind, nil)
    }

    /// Standard output, with writes that do not wait; its flags stay as they are, because other processes may share it.
    static func standardOutput() -> LogDestination {
        var status = stat()
        guard unsafe fstat(STDOUT_FILENO, &status) == 0 else {
            return LogDestination(nil, kind: .nonblocking)
        }
        switch status.st_mode & S_IFMT {
        case S_IFSOCK: return LogDestination(nil, kind: .socket)
        case S_IFIFO, S_IFCHR:
            let flags = O_WRONLY | O_NONBLOCK | O_NOCTTY
            // Opened again, it has its own flags.
            if let own = try? FileDescriptor(opening: "/proc/self/fd/\(STDOUT_FILENO)", flags) {
                return LogDestination(own, kind: .nonblocking)
            }
            // A pipe that is ready for writing takes 4,096 bytes, a terminal fewer.
            let chunk = status.st_mode & S_IFMT == S_IFIFO ? 4096 : 256
            return LogDestination(nil, kind: .polled(chunk: chunk))
        default: return LogDestination(nil, kind: .nonblocking)
        }
    }

    /// A FIFO without a reader is opened for reading, too: it keeps what fits until a reader comes.
    private static func open(_ path: String) throws(SystemError) -> FileDescriptor {
        do throws(SystemError) {
            return try FileDescriptor(opening: path, openFlags)
        } catch {
            guard error.code == ENXIO else { throw error }
            return try FileDescriptor(opening: path, O_RDWR | O_APPEND | O_NONBLOCK | O_NOCTTY)
        }
    }

    /// The descriptor; -1 while the file cannot be opened.
    var descriptor: CInt {
        switch file {
        case .some(let file): file.rawValue
        case nil: path == nil ? STDOUT_FILENO : -1
        }
    }

    /// Opens the file by its name; keeps the old one if that fails.
    ///
    /// - Returns: the error, if it failed.
    mutating func reopen() -> String? {
        guard let path else { return nil }
        do throws(SystemError) {
            file = try Self.open(path)
            isMidLine = false
            return nil
        } catch {
            return "\(error)"
        }
    }

    /// Opens the file again if its name belongs to another file or to none; looked up once for each batch.
    mutating func followName() -> String? {
        guard let path else { return nil }
        var (named, opened) = (stat(), stat())
        let isNamed = unsafe stat(path, &named) == 0
        let isSame =
            unsafe isNamed && fstat(descriptor, &opened) == 0 && named.st_ino == opened.st_ino
            && named.st_dev == opened.st_dev
        return isSame ? nil : reopen()
    }

    /// Writes the rest of the batch as far as there is room.
    ///
    /// - Returns: whether it is complete.
    /// - Throws: the error because of which the rest cannot be written.
    mutating func writeBatch() throws(SystemError) -> Bool {
        guard var batch = batch.take() else { return true }
        defer { self.batch = batch }
        if isMidLine, batch.written == 0 {
            let lineFeed = [UInt8(ascii: "\n")]
            guard try write(lineFeed[...]) == 1 else { return false }
            isMidLine = false
        }
        while batch.written < batch.bytes.count {
            let count: Int
            do throws(SystemError) {
                count = try write(batch.bytes[batch.written...])
            } catch {
                isMidLine =
                    batch.written > 0 && batch.bytes[batch.written - 1] != UInt8(ascii: "\n")
                throw error
            }
            if count == 0 { return false }
            batch.written += count
        }
        return true
    }

    /// One write; 0 when there is no room.
    private func write(_ bytes: ArraySlice<UInt8>) throws(SystemError) -> Int {
        let target = descriptor
        var bytes = bytes
        if case .polled(let chunk) = kind {
            var entry = pollfd(fd: target, events: Int16(POLLOUT), revents: 0)
            guard try retrying("poll", { unsafe poll(&entry, 1, 0) }) == 1 else { return 0 }
            bytes = bytes.prefix(chunk)
        }
        do throws(SystemError) {
            return try retrying("write") {
                unsafe bytes.withUnsafeBytes { buffer in
                    if case .socket = kind {
                        let flags = CInt(MSG_DONTWAIT) | CInt(MSG_NOSIGNAL)
                        return unsafe send(target, buffer.baseAddress, buffer.count, flags)
                    }
                    return unsafe Glibc.write(target, buffer.baseAddress, buffer.count)
                }
            }
        } catch {
            guard error.code == EAGAIN else { throw error }
            return 0
        }
    }
}
