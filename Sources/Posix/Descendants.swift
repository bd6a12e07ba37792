import CLinux
import Glibc
import Synchronization

/// The programs that a child has started, whatever group or parent they have by now.
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

    /// The descendants of all children of this process.
    static func findAll() -> [ProcessEntry] {
        let own = getpid()
        return ProcessEntry.all().filter {
            $0.identifier != own && !$0.hasEnded
                && $0.hasVariable(ProcessMark.prefix, isPrefix: true)
        }
    }

    /// Searches only the descendants of `root` and the orphans of this process, which include all that have left `root`.
    ///
    /// A thousand streams that stop at once need not read all of `/proc` each. `nil` if the kernel does not list children.
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

/// Programs whose parents have ended: they become children of process 1 or of a subreaper, which has to reap them.
package enum Orphans {
    /// Whether every child that this process has not started descends from one that it has.
    private static let areOwn = Atomic(false)
    private static let isReaper = Atomic(false)

    /// Whether the orphans of this process's children become its own.
    static var comeHere: Bool { isReaper.load(ordering: .relaxed) }

    /// Makes this process the parent of the orphans among its descendants, with `PR_SET_CHILD_SUBREAPER`.
    ///
    /// Process 1 is that already, and gets the orphans of `docker exec` as well. A process that has children before it
    /// starts any, as after a shell's `exec`, gets theirs.
    package static func adopt() {
        var information = unsafe siginfo_t()
        let hasNoChildren =
            unsafe waitid(P_ALL, 0, &information, WEXITED | WNOHANG | WNOWAIT) == -1
        let isFirst = getpid() == 1
        let isSubreaper = !isFirst && clinux_become_subreaper() == 0
        isReaper.store(isFirst || isSubreaper, ordering: .relaxed)
        areOwn.store(isSubreaper && hasNoChildren, ordering: .relaxed)
    }

    /// Reaps those that have ended, with `waitid(2)`, without waiting; their number.
    ///
    /// Children that this process started keep their status for their owners. While an ended one has not been waited for,
    /// orphans behind it are reaped the next time.
    @discardableResult
    package static func reap() -> Int {
        var count = 0
        while OwnChildren.reapOrphan() { count += 1 }
        endStrays()
        return count
    }

    /// Ends everything that children of this process have started and left: to be called at the end of this process.
    package static func endAll() {
        Descendants.findAll().signal(SIGKILL)
        if areOwn.load(ordering: .relaxed) { strays().signal(SIGKILL) }
    }

    /// The children of this process that have not ended.
    private static func strays() -> [ProcessEntry] {
        let own = getpid()
        return ProcessEntry.all().filter { $0.parent == own && !$0.hasEnded }
    }

    /// Ends orphans without a mark, which have cleared their environment, once no child runs that may need them.
    private static func endStrays() {
        guard areOwn.load(ordering: .relaxed), OwnChildren.areGone else { return }
        var information = unsafe siginfo_t()
        guard unsafe waitid(P_ALL, 0, &information, WEXITED | WNOHANG | WNOWAIT) == 0 else {
            return
        }
        let strays = strays()
        // One may have been started meanwhile.
        if OwnChildren.areGone { strays.signal(SIGKILL) }
    }
}

/// Programs that an earlier run of this program started, and that outlived it because it was ended by SIGKILL.
///
/// Not found are those of other users, and those that cleared their environment and descend from none that is found.
package enum Leftovers {
    /// Marks the programs that this process starts from now on as those of `owner`: `name` and the directory it works in.
    ///
    /// - Returns: the owner, for `end`; `nil` if there is no such directory.
    package static func markChildren(of name: String, in directory: String) -> String? {
        guard let status = try? FileSystem.status(of: directory) else { return nil }
        let place = String(status.st_dev, radix: 16) + "." + String(status.st_ino, radix: 16)
        let owner = "\(name):\(place)"
        ProcessMark.setOwner(owner)
        return owner
    }

    /// Ends the programs that earlier runs of `owner` have left: with SIGTERM, and after `timeout` with SIGKILL.
    ///
    /// Those whose starter still runs are left alone, although they have the same owner.
    /// - Returns: how many were found, and how many could not be ended.
    package static func end(
        of owner: String,
        within timeout: Duration
    ) -> (found: Int, remaining: Int) {
        var found = find(of: owner)
        let count = found.count
        if count == 0 { return (0, 0) }
        found.signal(SIGTERM)
        found.signal(SIGCONT)  // A stopped program would not see it.
        found.waitForEnds(until: BootTime.now().advanced(by: timeout))
        // Repeated for what they have started meanwhile; what is left then cannot be ended.
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
            // The start time excludes another process with its number, the number excludes others of that time.
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

/// A variable by which a child and its descendants are found, also those that have left the process group (`setsid(2)`).
///
/// `STREAMVAULT_CHILD=RUN-NUMBER`, or `STREAMVAULT_CHILD=RUN-NUMBER/OWNER/PID.TICKS` after `Leftovers.markChildren`: with
/// the process that started the child, and a name by which the next start of the same program recognizes it.
struct ProcessMark: Sendable {
    private static let variable = "STREAMVAULT_CHILD="
    /// Different in each process.
    static let run = String(UInt64.random(in: .min ... .max), radix: 16)
    private static let latest = Atomic<UInt64>(0)
    private static let owner = Mutex("")

    /// `NAME=value`, as it stands in `/proc/PID/environ`.
    let entry: String

    /// A new mark.
    init() {
        let number = Self.latest.add(1, ordering: .relaxed).newValue
        entry = "\(Self.prefix)\(number)\(Self.owner.withLock(\.self))"
    }

    /// Begins all marks of this process.
    static var prefix: String { "\(variable)\(run)-" }

    /// Adds this process and its owner name to all further marks.
    static func setOwner(_ name: String) {
        guard let own = ProcessEntry(getpid()) else { return }
        owner.withLock { $0 = "/\(name)/\(own.identifier).\(own.startTicks)" }
    }

    /// The process that set a mark.
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

/// A process as `/proc` showed it.
package struct ProcessEntry: Sendable {
    let identifier: pid_t
    let parent: pid_t
    /// In clock ticks since the boot: distinguishes two processes with the same number.
    var startTicks: UInt64
    /// `Z` or `X`: it has ended, and waits to be reaped.
    let hasEnded: Bool

    /// `nil` if there is no such process any more.
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

    /// All processes except those that end meanwhile; none without `/proc`.
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

    /// From its mark; `nil` without one that has an owner.
    fileprivate var origin: ProcessMark.Origin? {
        environment.split(separator: 0).lazy.compactMap { ProcessMark.Origin($0) }.first
    }

    /// As it was at the start of the program; empty if it may not be read, as that of another user's process.
    private var environment: [UInt8] {
        let file = try? FileDescriptor(opening: "/proc/\(identifier)/environ", O_RDONLY)
        return (try? file?.readAll(atMost: 4 << 20)) ?? []
    }

    /// Its number in its own PID namespace, as `getpid(2)` returns it there.
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

extension ProcessEntry {
    /// A descriptor of this process, with `pidfd_open(2)`; `nil` if it has ended.
    ///
    /// By now the number may belong to another process, which started later.
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
            guard (try? process.isReady(for: .reading, until: deadline)) == true else { return }
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
