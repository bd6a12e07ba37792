import Glibc
import Posix
import Synchronization

/// A publisher's segment: records and cells in memory, and the file in which readers find them.
///
/// Other processes can remove, replace, move or truncate the file, and its directory may be created late. `check` detects
/// this and publishes in a new file, which is mapped at the same address, so handles stay valid. Only the truncation of a
/// file loses counts: those since the last check.
final class PublishedSegment: Sendable {
    let state: Mutex<PublisherState>
    private let memory: SharedMemory
    private let directory: String
    private let files: Mutex<Files>
    private let upkeep: Mutex<Upkeep>

    /// A file that this run has locked.
    private final class LockedFile: Sendable {
        let descriptor: FileDescriptor
        let identity: FileIdentity
        let openedAt: BootTime

        init(_ descriptor: consuming FileDescriptor) throws(SystemError) {
            identity = try FileIdentity(of: descriptor)
            self.descriptor = descriptor
            openedAt = .now()
        }
    }

    private struct Files {
        /// `nil` before the first publication.
        var current: LockedFile?
        /// Earlier files, locked for readers that have just opened them.
        var former: [LockedFile] = []
        var hasEnded = false
    }

    /// The state of checks, of which one runs at a time.
    private struct Upkeep {
        /// Why a new file is needed; `nil` if readers find the current one.
        var cause: PublisherEvent.Cause?
        /// Whether the state of earlier runs was taken over, if there was any.
        var hasCarriedState: Bool
        /// Two copies of the memory: one is valid while the other is being written.
        var copies: [Copy] = []
        var reports = ReportLimiter()

        struct Copy {
            let memory: SharedMemory
            /// The count of changes of records when the complete segment was copied.
            var changes: UInt64?
        }
    }

    /// How long an earlier file stays locked.
    private static let formerFileLifetime = Duration.seconds(10)
    /// Maximum number of new files in one check, if files are truncated meanwhile.
    private static let maxAttempts = 8

    init(_ start: consuming RunSettings.Start) {
        let initial = start.state
        memory = initial.writer.memory
        directory = start.directory
        var file: LockedFile?
        if let descriptor = start.file.take() { file = try? LockedFile(descriptor) }
        let hasFile = file != nil
        files = Mutex(Files(current: file))
        state = Mutex(initial)
        // A start without a file has not read the state of the previous run.
        upkeep = Mutex(Upkeep(cause: hasFile ? nil : .late, hasCarriedState: hasFile))
        upkeep.withLock { keepCopy(&$0) }
    }

    /// Whether there was a file for readers at the last check.
    var isPublished: Bool { files.withLock { $0.current != nil } }

    /// Releases the lock; the memory stays mapped, because handles may still be used.
    func end() {
        releaseFiles()
        // A check that is running keeps them.
        upkeep.withLockIfAvailable { releaseCopies(&$0) }
    }

    /// Frees all memory: the state and its handles must not be used any more.
    @unsafe func release() {
        releaseFiles()
        upkeep.withLock { releaseCopies(&$0) }
        state.withLock { unsafe $0.releaseMemory() }
    }

    private func releaseCopies(_ upkeep: inout Upkeep) {
        memory.keepCopy(nil)
        for copy in upkeep.copies { unsafe copy.memory.release() }
        upkeep.copies = []
    }

    private func releaseFiles() {
        files.withLock { files in
            for file in files.former { file.descriptor.unlock() }
            // A mapping also keeps the lock.
            files.current?.descriptor.unlock()
            files = Files(hasEnded: true)
        }
    }
}

/// The checks.
extension PublishedSegment {
    /// Checks whether readers find the segment, and publishes in a new file if not.
    ///
    /// It waits if the file system does, so the thread that sends heartbeats must not call it. No other call waits for it.
    /// - Returns: what has changed; `nil` if nothing has.
    func check(at now: BootTime = .now()) -> PublisherEvent? {
        upkeep.withLock { upkeep in
            let identity = forgetFormerFiles(at: now)
            if !isIntact {
                restore(&upkeep)
                upkeep.cause = .truncated
            }
            do throws(PublishingFailure) {
                if let identity, upkeep.cause == nil || upkeep.cause == .unreachable {
                    upkeep.cause = try deviation(from: identity, upkeep.cause)
                }
                guard let cause = upkeep.cause else {
                    keepCopy(&upkeep)
                    return nil
                }
                if cause != .unreachable { try publish(&upkeep) }
                upkeep.cause = nil
                keepCopy(&upkeep)
                return upkeep.reports.published(after: cause, at: now)
            } catch {
                if upkeep.cause == nil { upkeep.cause = .unreachable }
                // The file without a name can still be cut by whoever has it open.
                keepCopy(&upkeep)
                return upkeep.reports.failed(error.description, at: now)
            }
        }
    }

    /// Copies the memory, so that what was counted since the last check survives the truncation of the file.
    func keepCopy() { upkeep.withLock { keepCopy(&$0) } }

    /// Why the path does not lead to the current file; `nil` if it does.
    private func deviation(
        from identity: FileIdentity,
        _ former: PublisherEvent.Cause?
    ) throws(PublishingFailure) -> PublisherEvent.Cause? {
        let found = try PublishingFailure.wrapping { () throws(SystemError) in
            try FileIdentity(named: SegmentCreation.path(directory, name))
        }
        guard let found else { return .removed }
        return found == identity ? former : .replaced
    }

    /// Publishes in a new file, even if files are truncated meanwhile.
    private func publish(_ upkeep: inout Upkeep) throws(PublishingFailure) {
        for _ in 0..<Self.maxAttempts {
            if try publishOnce(&upkeep) { return }
            if !isIntact { restore(&upkeep) }
        }
        throw PublishingFailure(description: "the file was truncated repeatedly")
    }

    /// Creates a file, moves the memory to it, and gives it the name; `false` if a file was truncated meanwhile.
    ///
    /// In this order: under its name, a reader always finds a locked file with all counts.
    private func publishOnce(_ upkeep: inout Upkeep) throws(PublishingFailure) -> Bool {
        let own = files.withLock { $0.former + ($0.current.map { [$0] } ?? []) }.map(\.identity)
        let beginning = try PublishingFailure.wrapping { () throws(SystemError) in
            try FileSystem.makeDirectory(directory)
            return try SegmentCreation.begin(directory: directory, name: name, own: own)
        }
        switch consume beginning {
        case .running:
            throw PublishingFailure(description: "another recorder of this name is running")
        case .blocked(let reason): throw PublishingFailure(description: reason)
        case .begun(var creation):
            if !upkeep.hasCarriedState {
                inherit(try? creation.carried(except: header.identity.runID))
                upkeep.hasCarriedState = true
            }
            let target = try PublishingFailure.wrapping { () throws(SystemError) in
                try creation.memory(header.layout)
            }
            // With the state locked, because writing a record takes several stores.
            guard state.withLock({ _ in memory.move(to: target) }), isIntact else { return false }
            let file = try PublishingFailure.wrapping { () throws(SystemError) in
                try LockedFile(try creation.finish())
            }
            files.withLock { files in
                guard !files.hasEnded else { return file.descriptor.unlock() }
                if let former = files.current { files.former.append(former) }
                files.current = file
            }
            return true
        }
    }

    private func inherit(_ carried: CarriedState?) {
        guard let carried else { return }
        state.withLock { $0.apply(carried) }
    }

    private var header: SegmentHeader { state.withLock { $0.header } }

    private var name: String { header.identity.name }

    /// Releases earlier files that no reader can have just opened; returns the identity of the current file.
    private func forgetFormerFiles(at now: BootTime) -> FileIdentity? {
        files.withLock { files in
            // The last earlier file was published until the current one was opened.
            files.former.removeAll { _ in
                guard let current = files.current else { return false }
                return now.since(current.openedAt) > Self.formerFileLifetime
            }
            return files.current?.identity
        }
    }
}

/// Truncated files.
extension PublishedSegment {
    /// Whether the file was not truncated, which does not always raise a signal.
    private var isIntact: Bool {
        let isIntact = state.withLock { $0.writer.isIntact($0.header) }
        return isIntact && !memory.isLost
    }

    /// Continues in private memory with the last copy.
    private func restore(_ upkeep: inout Upkeep) {
        memory.discardFile()
        memory.acknowledgeLoss()
        state.withLock { $0.rewrite() }
        for index in upkeep.copies.indices { upkeep.copies[index].changes = nil }
    }

    /// Copies what the truncation of the file would destroy; records only if one has changed.
    private func keepCopy(_ upkeep: inout Upkeep) {
        guard isPublished else { return }
        if upkeep.copies.isEmpty {
            upkeep.copies = (0..<2).compactMap { _ in
                (try? SharedMemory(movableWords: memory.wordCount)).map { .init(memory: $0) }
            }
            guard upkeep.copies.count == 2 else { return releaseCopies(&upkeep) }
        }
        let copy = upkeep.copies[0]
        let changes = state.withLock { state in
            let changes = state.writer.changes
            let words = copy.changes == changes ? state.writer.words : 0..<memory.wordCount
            copy.memory.copy(words, of: memory)
            return changes
        }
        // If the file was truncated meanwhile, the copy has zeros.
        guard isIntact else { return }
        upkeep.copies[0].changes = changes
        memory.keepCopy(copy.memory)
        upkeep.copies.swapAt(0, 1)
    }
}

/// Why the segment cannot be published now, in one line.
private struct PublishingFailure: Error {
    let description: String

    static func wrapping<T: ~Copyable>(
        _ call: () throws(SystemError) -> T
    ) throws(PublishingFailure) -> T {
        do throws(SystemError) {
            return try call()
        } catch {
            throw PublishingFailure(description: error.description)
        }
    }
}

/// Reports the same event once, and then every ten minutes.
private struct ReportLimiter {
    private static let interval = Duration.seconds(600)

    private var isFailing = false
    private var failureLoggedAt: BootTime?
    private var loggedAt: [PublisherEvent.Cause: BootTime] = [:]

    mutating func failed(_ problem: String, at now: BootTime) -> PublisherEvent? {
        if isFailing, let failureLoggedAt, now.since(failureLoggedAt) < Self.interval { return nil }
        (isFailing, failureLoggedAt) = (true, now)
        return PublisherEvent(.unpublished(problem), isRepeated: false)
    }

    mutating func published(after cause: PublisherEvent.Cause, at now: BootTime) -> PublisherEvent {
        // A recovery is reported if the failure was.
        let isNews = isFailing || loggedAt[cause].map { now.since($0) >= Self.interval } ?? true
        isFailing = false
        if isNews { loggedAt[cause] = now }
        return PublisherEvent(.published(after: cause), isRepeated: !isNews)
    }
}
