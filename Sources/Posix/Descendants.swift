import CLinux
import Glibc
import Synchronization

/// A variable by which a child and what it has started is found, also where it has left the process group (`setsid(2)`).
///
/// `STREAMVAULT_CHILD=RUN-NUMBER`, or `STREAMVAULT_CHILD=RUN-NUMBER/OWNER/PID.TICKS` after `Leftovers.markChildren`: the
/// process that started the child, and what the next start of the same program knows it by.
struct ProcessMark: Sendable {
    private static let variable = "STREAMVAULT_CHILD="
    /// Differs from process to process, and from start to start.
    static let run = String(UInt64.random(in: .min ... .max), radix: 16)
    private static let latest = Atomic<UInt64>(0)
    private static let owner = Mutex("")

    /// `NAME=value`, as it stands in `/proc/PID/environ`.
    let entry: String

    /// The next mark; none has it yet.
    init() {
        let number = Self.latest.add(1, ordering: .relaxed).newValue
        entry = "\(Self.prefix)\(number)\(Self.owner.withLock(\.self))"
    }

    /// The beginning of all marks of this process.
    static var prefix: String { "\(variable)\(run)-" }

    /// Adds to all further marks who this process is.
    static func setOwner(_ name: String) {
        guard let own = ProcessEntry(getpid()) else { return }
        owner.withLock { $0 = "/\(name)/\(own.identifier).\(own.startTicks)" }
    }

    /// What a mark says of the process that set it.
    struct Origin: Hashable {
        let run: String
        let owner: String
        let starter: pid_t
        let startTicks: UInt64

        /// `nil` for another variable, and for a mark without an owner.
        init?(_ entry: some Collection<UInt8>) {
            guard entry.starts(with: variable.utf8) else { return nil }
            let value = String(decoding: entry.dropFirst(variable.utf8.count), as: UTF8.self)
            let parts = value.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count == 3, let dash = parts[0].firstIndex(of: "-") else { return nil }
            let numbers = parts[2].split(separator: ".")
            guard numbers.count == 2, let starter = pid_t(numbers[0]),
                let ticks = UInt64(numbers[1])
            else { return nil }
            (run, owner) = (String(parts[0][..<dash]), String(parts[1]))
            (self.starter, startTicks) = (starter, ticks)
        }
    }
}

/// One process of `/proc`, as it was when it was read.
package struct ProcessEntry: Sendable {
    let identifier: pid_t
    let parent: pid_t
    /// In clock ticks since the start of the system: tells two processes of one number apart.
    var startTicks: UInt64
    /// `Z` or `X`: it only waits to be reaped.
    let hasEnded: Bool

    /// `nil` when there is no such process any more.
    init?(_ identifier: pid_t) {
        guard let file = try? FileDescriptor(opening: "/proc/\(identifier)/stat", O_RDONLY),
            let bytes = try? file.bytes(at: 0, count: 1024),
            // The name, in parentheses, may hold anything.
            let end = bytes.lastIndex(of: UInt8(ascii: ")"))
        else { return nil }
        let fields = bytes[(end + 1)...].split(separator: UInt8(ascii: " ")).map {
            String(decoding: $0, as: UTF8.self)
        }
        guard fields.count > 19, let parent = pid_t(fields[1]), let start = UInt64(fields[19])
        else { return nil }
        (self.identifier, self.parent, startTicks) = (identifier, parent, start)
        hasEnded = fields[0] == "Z" || fields[0] == "X"
    }

    /// All processes, but for those that end meanwhile; none without `/proc`.
    static func all() -> [ProcessEntry] {
        let names = (try? FileSystem.entries(of: "/proc")) ?? []
        return names.compactMap { pid_t($0) }.compactMap { ProcessEntry($0) }
    }

    /// Whether its environment has an entry that begins so; `false` where it may not be read.
    func hasVariable(_ entry: String, isPrefix: Bool = false) -> Bool {
        let wanted = Array(entry.utf8)
        return environment.split(separator: 0).contains { variable in
            isPrefix ? variable.starts(with: wanted) : variable.elementsEqual(wanted)
        }
    }

    /// Who started it, or the program that started it; `nil` without a mark that says so.
    fileprivate var origin: ProcessMark.Origin? {
        environment.split(separator: 0).lazy.compactMap { ProcessMark.Origin($0) }.first
    }

    /// As the program was started with it; empty where it may not be read, as of another user's process.
    private var environment: [UInt8] {
        let file = try? FileDescriptor(opening: "/proc/\(identifier)/environ", O_RDONLY)
        return (try? file?.readAll(atMost: 4 << 20)) ?? []
    }

    /// Its number in its own namespace, which is how it knows itself.
    fileprivate var ownIdentifier: pid_t? {
        guard let file = try? FileDescriptor(opening: "/proc/\(identifier)/status", O_RDONLY),
            let bytes = try? file.readAll(atMost: 1 << 16)
        else { return nil }
        let lines = bytes.split(separator: UInt8(ascii: "\n"))
        let line = lines.first { $0.starts(with: "NSpid:".utf8) }
        let last = line?.split(separator: UInt8(ascii: "\t")).last
        return last.flatMap { pid_t(String(decoding: $0, as: UTF8.self)) }
    }
}

/// Programs that a child has started, wherever they are by now.
enum Descendants {
    /// The processes that descend from `root`, and those that carry its mark; not `root` itself, nor what has ended.
    static func find(of root: pid_t, _ mark: ProcessMark) -> [ProcessEntry] {
        if Orphans.comeHere, let found = findAmongOwn(root, mark) { return found }
        let (all, own) = (ProcessEntry.all(), getpid())
        let below = ChildrenByParent(all).descendants(of: [root])
        return all.filter { entry in
            entry.identifier != root && entry.identifier != own && !entry.hasEnded
                && (below.contains(entry.identifier) || entry.hasVariable(mark.entry))
        }
    }

    /// Those of all children of this process.
    static func findAll() -> [ProcessEntry] {
        let own = getpid()
        return ProcessEntry.all().filter {
            $0.identifier != own && !$0.hasEnded
                && $0.hasVariable(ProcessMark.prefix, isPrefix: true)
        }
    }

    /// Looks only at what descends from `root` and at the orphans of this process, where all are that have left it.
    ///
    /// A thousand streams that stop at once do not read all of `/proc` each. `nil` where the kernel does not list children.
    private static func findAmongOwn(_ root: pid_t, _ mark: ProcessMark) -> [ProcessEntry]? {
        let own = getpid()
        // Orphans become children of the main thread, which starts no programs itself.
        guard let orphans = children(ofThread: "\(own)/task/\(own)") else { return nil }
        var waiting = orphans.filter {
            $0 != root && ProcessEntry($0)?.hasVariable(mark.entry) == true
        }
        waiting += children(of: root)
        var found: Set<pid_t> = []
        while let next = waiting.popLast() {
            if found.insert(next).inserted { waiting += children(of: next) }
        }
        return found.compactMap { ProcessEntry($0) }.filter { !$0.hasEnded }
    }

    private static func children(of process: pid_t) -> [pid_t] {
        let threads = (try? FileSystem.entries(of: "/proc/\(process)/task")) ?? []
        return threads.flatMap { children(ofThread: "\(process)/task/\($0)") ?? [] }
    }

    private static func children(ofThread path: String) -> [pid_t]? {
        let file = try? FileDescriptor(opening: "/proc/\(path)/children", O_RDONLY)
        guard let file, let bytes = try? file.readAll(atMost: 1 << 20) else { return nil }
        return bytes.split(separator: UInt8(ascii: " ")).compactMap {
            pid_t(String(decoding: $0, as: UTF8.self))
        }
    }
}

/// Programs that an earlier run of this program started, and that outlived it, since it was ended by SIGKILL.
///
/// Those of other users are not found, and so are those that have given up their environment: unless they descend from one
/// that is found.
package enum Leftovers {
    /// Marks the programs that this process starts from now on as those of `owner`: `name` and the directory it works in.
    ///
    /// - Returns: the owner, for `end`; `nil` when there is no such directory.
    package static func markChildren(of name: String, in directory: String) -> String? {
        guard let status = try? FileSystem.status(of: directory) else { return nil }
        let place = String(status.st_dev, radix: 16) + "." + String(status.st_ino, radix: 16)
        let owner = "\(name):\(place)"
        ProcessMark.setOwner(owner)
        return owner
    }

    /// Ends what earlier runs of `owner` have left: with SIGTERM, and after `patience` with SIGKILL.
    ///
    /// What a process has started that still runs is left alone, though it has the same owner.
    /// - Returns: how many there were, and how many of them could not be ended.
    package static func end(
        of owner: String,
        within patience: Duration
    ) -> (found: Int, remaining: Int) {
        var found = find(of: owner)
        let count = found.count
        if count == 0 { return (0, 0) }
        found.signal(SIGTERM)
        found.signal(SIGCONT)  // A stopped program would not see it.
        found.waitForEnds(until: BootTime.now().advanced(by: patience))
        // Again, for what they have started meanwhile; what then is left cannot be ended.
        for _ in 0..<3 {
            found = find(of: owner)
            if found.isEmpty { break }
            found.signal(SIGKILL)
            found.waitForEnds(until: .now().advanced(by: .seconds(1)))
        }
        return (count, found.count { $0.isRunning })
    }

    static func find(of owner: String) -> [ProcessEntry] {
        let all = ProcessEntry.all().filter { !$0.hasEnded }
        var starterRuns: [ProcessMark.Origin: Bool] = [:]
        func isLeftover(_ origin: ProcessMark.Origin) -> Bool {
            guard origin.owner == owner, origin.run != ProcessMark.run else { return false }
            if let runs = starterRuns[origin] { return !runs }
            // The time of its start tells it from another with its number, the number from others of that time.
            let runs = all.contains {
                $0.startTicks == origin.startTicks && $0.ownIdentifier == origin.starter
            }
            starterRuns[origin] = runs
            return !runs
        }
        let tree = ChildrenByParent(all)
        let spared = tree.ancestors(of: getpid()).union([getpid()])
        let origins = Dictionary(
            uniqueKeysWithValues: all.compactMap { one in one.origin.map { (one.identifier, $0) } }
        )
        let roots = all.map(\.identifier).filter { origins[$0].map(isLeftover) ?? false }
        let below = tree.descendants(of: roots)
        return all.filter { entry in
            guard !spared.contains(entry.identifier) else { return false }
            if let origin = origins[entry.identifier] { return isLeftover(origin) }
            return below.contains(entry.identifier)
        }
    }
}

/// The tree of all processes.
private struct ChildrenByParent {
    private var children: [pid_t: [pid_t]] = [:]
    private var parents: [pid_t: pid_t] = [:]

    init(_ entries: [ProcessEntry]) {
        for entry in entries {
            children[entry.parent, default: []].append(entry.identifier)
            parents[entry.identifier] = entry.parent
        }
    }

    func ancestors(of process: pid_t) -> Set<pid_t> {
        var found: Set<pid_t> = []
        var next = parents[process]
        while let parent = next, found.insert(parent).inserted { next = parents[parent] }
        return found
    }

    func descendants(of roots: [pid_t]) -> Set<pid_t> {
        var found: Set<pid_t> = []
        var waiting = roots.flatMap { children[$0] ?? [] }
        while let next = waiting.popLast() {
            if found.insert(next).inserted { waiting += children[next] ?? [] }
        }
        return found
    }
}

extension ProcessEntry {
    /// A descriptor of this very process, with `pidfd_open(2)`; `nil` when it has ended.
    ///
    /// The number may belong to another process by now, which started later.
    func open() -> FileDescriptor? {
        let descriptor = clinux_pidfd_open(identifier)
        guard descriptor >= 0 else { return nil }
        let owned = FileDescriptor(adopting: descriptor)
        guard ProcessEntry(identifier)?.startTicks == startTicks else { return nil }
        return owned
    }

    /// Whether it has not ended.
    var isRunning: Bool {
        guard let now = ProcessEntry(identifier) else { return false }
        return now.startTicks == startTicks && !now.hasEnded
    }

    /// Sends a signal, unless it has ended.
    func signal(_ signal: CInt) {
        guard let process = open() else { return }
        _ = clinux_pidfd_send_signal(process.rawValue, signal)
    }
}

extension [ProcessEntry] {
    func signal(_ signal: CInt) {
        for entry in self { entry.signal(signal) }
    }

    /// Waits until all of them have ended, or until `deadline`.
    func waitForEnds(until deadline: BootTime) {
        for entry in self {
            // Readable once the process has ended.
            guard let process = entry.open() else { continue }
            var poll = pollfd(fd: process.rawValue, events: Int16(POLLIN), revents: 0)
            let left = deadline.since(.now())
            guard left > .zero else { return }
            let milliseconds = CInt(clamping: left.wholeNanoseconds / 1_000_000 + 1)
            _ = unsafe Glibc.poll(&poll, 1, milliseconds)
        }
    }
}
