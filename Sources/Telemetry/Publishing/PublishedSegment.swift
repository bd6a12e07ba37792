import Glibc
import Posix
import Synchronization

/// A publisher's segment: its records and cells in memory, and the file by which readers find them.
///
/// Other processes can remove, replace, move or cut the file, or its directory may appear late. `check` notices that and
/// publishes in a new file, which is mapped at the same address: handles stay as they are, and no count is lost but what
/// was counted since the last check when a file was cut.
final class PublishedSegment: Sendable {
    let state: Mutex<PublisherState>
    private let memory: SharedMemory
    private let directory: String
    private let files: Mutex<Files>
    private let upkeep: Mutex<Upkeep>

    /// A file on which this run holds the lock.
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
        /// `nil` as long as nothing was published.
        var current: LockedFile?
        /// Those before it: a reader that has just opened one asks for its lock.
        var former: [LockedFile] = []
        var hasEnded = false
    }

    /// Belongs to whoever checks, one at a time.
    private struct Upkeep {
        /// Why a new file is needed; `nil` when readers find the current one.
        var cause: PublisherEvent.Cause?
        /// Whether what earlier runs left was taken over, or there was nothing.
        var hasCarriedState: Bool
        /// Two copies of the memory: one is in use while the other is being made.
        var copies: [Copy] = []
        var reports = ReportLimiter()

        struct Copy {
            let memory: SharedMemory
            /// The count of changes of records when all of the segment was copied.
            var changes: UInt64?
        }
    }

    /// How long a file that is no longer published keeps its lock.
    private static let formerFileLifetime = Duration.seconds(10)
    /// How often a new file is made in one check where files are cut.
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
        // The run before is judged where there is a file: a start that failed has not looked.
        upkeep = Mutex(Upkeep(cause: hasFile ? nil : .late, hasCarriedState: hasFile))
        upkeep.withLock { keepCopy(&$0) }
    }

    /// Whether there is a file that others can read, as of the last check.
    var isPublished: Bool { files.withLock { $0.current != nil } }

    /// Gives up the lock; the memory stays mapped, for handles that are still used.
    func end() {
        releaseFiles()
        // A check that is under way keeps them.
        upkeep.withLockIfAvailable { releaseCopies(&$0) }
    }

    /// Gives all memory back: the state and its handles end with it.
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
            // A mapping keeps a lock, too.
            files.current?.descriptor.unlock()
            files = Files(hasEnded: true)
        }
    }
}

/// The checks.
extension PublishedSegment {
    /// Looks whether readers find what is published, and makes it so where they do not.
    ///
    /// It may wait for a file system that hangs: not for the loop that sends heartbeats. Nobody else waits for it.
    /// - Returns: what is new; `nil` when nothing is.
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

    /// Copies what was counted since the last check, so that it survives when the file is cut.
    func keepCopy() { upkeep.withLock { keepCopy(&$0) } }

    /// Why the file's name does not lead to it; `nil` where it does.
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

    /// Publishes in a new file, also where the old or the new one is cut meanwhile.
    private func publish(_ upkeep: inout Upkeep) throws(PublishingFailure) {
        for _ in 0..<Self.maxAttempts {
            if try publishOnce(&upkeep) { return }
            if !isIntact { restore(&upkeep) }
        }
        throw PublishingFailure(description: "the file is cut again and again")
    }

    /// Creates a file, moves the memory to it, and gives it the name; `false` where a file was cut meanwhile.
    ///
    /// In this order: a reader that finds the name finds all counts, and a lock.
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
            // Under the lock: a record is more than one store.
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

    /// Forgets the files that no reader can be about to ask; the identity of the current one.
    private func forgetFormerFiles(at now: BootTime) -> FileIdentity? {
        files.withLock { files in
            // Each is published until the next one is opened.
            files.former.removeAll { _ in
                guard let current = files.current else { return false }
                return now.since(current.openedAt) > Self.formerFileLifetime
            }
            return files.current?.identity
        }
    }
}

/// Cut files.
extension PublishedSegment {
    /// Whether nobody has cut the file: not every cut raises a signal.
    private var isIntact: Bool {
        let isIntact = state.withLock { $0.writer.isIntact($0.header) }
        return isIntact && !memory.isLost
    }

    /// Continues in private memory from the last copy.
    private func restore(_ upkeep: inout Upkeep) {
        memory.discardFile()
        memory.acknowledgeLoss()
        state.withLock { $0.rewrite() }
        for index in upkeep.copies.indices { upkeep.copies[index].changes = nil }
    }

    /// Copies what a cut of the file would destroy; the records only when one has changed.
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
        // A file that was cut meanwhile gave zeros.
        guard isIntact else { return }
        upkeep.copies[0].changes = changes
        memory.keepCopy(copy.memory)
        upkeep.copies.swapAt(0, 1)
    }
}

/// Why nothing can be published now, in one line.
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

/// Says the same once, and then every ten minutes.
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
        // What was said to be broken is said to work again.
        let isNews = isFailing || loggedAt[cause].map { now.since($0) >= Self.interval } ?? true
        isFailing = false
        if isNews { loggedAt[cause] = now }
        return PublisherEvent(.published(after: cause), isRepeated: !isNews)
    }
}
