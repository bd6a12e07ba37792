import Posix

@testable import StreamVaultTelemetry

/// A segment in private memory with timestamps that a test chooses.
final class PaperSegment {
    static let startedBoot = BootTime(nanoseconds: 1000 * second)
    static let startedWall = WallTime(nanoseconds: 1_700_000_000 * second)
    static let second: UInt64 = 1_000_000_000
    static let bootID = BootID(bytes: [UInt8](repeating: 7, count: 16))

    var state: PublisherState
    private let memory: SharedMemory
    private let layout: SegmentLayout

    init(
        phases: [String] = ["signal", "recordings", "database"],
        capacity: SegmentCapacity = .small
    ) {
        layout = SegmentLayout(capacity)
        memory = SharedMemory(privateWords: layout.fileSize / 8)
        let identity = RunIdentity(
            name: "paper",
            version: "1.0",
            runID: [UInt8](repeating: 1, count: 16),
            bootID: Self.bootID,
            startedBoot: Self.startedBoot,
            startedWall: Self.startedWall,
            heartbeatInterval: Self.second
        )
        let plan = RunSettings(
            identity: identity,
            layout: layout,
            phases: phases.map { PhaseBudget($0, budget: .seconds(10)) }
        )
        state = PublisherState(plan, memory, CarriedState())
    }

    func beat(at seconds: Double) {
        state.writer.store(Self.stamp(seconds).nanoseconds, word: SegmentWord.heartbeat)
    }

    /// The content of its file.
    var bytes: [UInt8] {
        var writer = RecordWriter()
        for index in 0..<layout.fileSize / 8 { writer.integer(memory.load(index)) }
        return writer.bytes
    }

    /// What a reader sees, `seconds` after the start.
    func snapshot(
        isOwned: Bool,
        at seconds: Double,
        wall: WallTime? = nil,
        bootID: BootID = bootID
    ) throws -> Snapshot {
        let now = Self.stamp(seconds)
        return try Snapshot(of: bytes, isOwned: isOwned, now: now, wall: wall, bootID: bootID)
    }

    /// A timestamp of the run, `seconds` after its start.
    static func stamp(_ seconds: Double) -> BootTime {
        BootTime(nanoseconds: UInt64(Double(startedBoot.nanoseconds) + seconds * 1e9))
    }
}

extension Snapshot {
    /// Parses a complete file as a reader does when nothing changes.
    init(
        of bytes: [UInt8],
        isOwned: Bool = false,
        now: BootTime = .now(),
        wall: WallTime? = nil,
        bootID: BootID = PaperSegment.bootID,
        unchangedFor: Duration? = nil,
        hasOtherClock: Bool = false
    ) throws(SegmentError) {
        let header = try SegmentHeader(bytes)
        let contents = SegmentContents(try SegmentRecords(bytes, header))
        let first = header.layout[.words].offset
        var words = (0..<contents.fileWords).map { bytes.word(at: first + $0 * 8) }
        words += [UInt64](repeating: 0, count: contents.addedWords)
        self.init(
            contents,
            words: words,
            isOwned: isOwned,
            now: now,
            wall: wall,
            bootID: bootID,
            unchangedFor: unchangedFor,
            hasOtherClock: hasOtherClock
        )
    }
}
