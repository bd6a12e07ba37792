import Foundation
import Posix
import StreamVaultTelemetry
import Testing

@testable import Recorder

@Suite("Disk guard", .timeLimit(.minutes(5)))
struct DiskGuardTests {
    private let directory = FilesDirectory()
    private static let limits = DiskLimits(warnBelow: 1000, refuseBelow: 400, reserve: 50)

    @Test(
        "a level is left with more room than it is entered with",
        arguments: [
            (.ample, 1000, .ample), (.ample, 999, .low), (.ample, 399, .full),
            (.low, 1099, .low), (.low, 1100, .ample), (.low, 400, .low), (.low, 399, .full),
            (.full, 400, .full), (.full, 499, .full), (.full, 500, .low), (.full, 1100, .ample),
            (.full, 0, .full),
        ] as [(DiskLevel, UInt64, DiskLevel)]
    )
    func levels(_ level: DiskLevel, _ free: UInt64, _ next: DiskLevel) {
        #expect(level.next(free: free, Self.limits) == next)
    }

    @Test("the room that the reserve gives up does not open the disk to new recordings")
    func reserveDoesNotCount() {
        let limits = DiskLimits(warnBelow: 0, refuseBelow: 100, reserve: 500)
        #expect(DiskLevel.full.next(free: 99 + limits.reserve, limits) == .full)
    }

    @Test(
        "without settings the limits are a share of a small disk, and fixed on a large one",
        arguments: [
            (1 << 20, 104_857, 20_971, 2_097), (1 << 40, 5 << 30, 1 << 30, 32 << 20),
        ] as [(UInt64, UInt64, UInt64, UInt64)]
    )
    func defaults(_ size: UInt64, _ warn: UInt64, _ refuse: UInt64, _ reserve: UInt64) {
        let limits = DiskSettings().limits(size: size)
        #expect(limits == DiskLimits(warnBelow: warn, refuseBelow: refuse, reserve: reserve))
    }

    @Test(
        "the reserve takes its room at once, gives it up once, and leaves nothing when there is too little"
    )
    func reserve() throws {
        var reserve = DiskReserve(path: "\(directory.path)/.reserve-cam")
        try reserve.hold(1 << 20)
        let status = try FileSystem.status(of: reserve.path)
        #expect(status.st_size == 1 << 20 && status.st_blocks * 512 >= 1 << 20)
        let releases = [reserve.release(), reserve.release()]
        #expect(releases == [true, false])
        #expect(try directory.entries.isEmpty)
        let path = reserve.path
        #expect(throws: SystemError.self) {
            var tooLarge = DiskReserve(path: path)
            try tooLarge.hold(1 << 60)
        }
        #expect(reserve.heldBytes == 0)
        #expect(try directory.entries.isEmpty)
    }

    @Test("a full disk refuses with what is free and what is needed; with room again it does not")
    func refusal() throws {
        let publisher = try Publisher(
            directory: directory.path,
            name: "cam",
            version: "1",
            phases: []
        )
        let disk = DiskGuard(
            directory.path,
            recorder: "cam",
            DiskSettings(warnBelow: 1000, refuseBelow: 400, reserve: 100),
            RecorderMetrics(publisher),
            Log()
        )
        func look(_ free: UInt64) { disk.take(DiskSpace(freeBytes: free, sizeBytes: 10_000)) }
        look(2000)
        #expect(disk.refusal == nil && disk.level == .ample)
        #expect(try directory.entries.contains(".reserve-cam"))
        look(399)
        #expect(disk.refusal == .noSpace(freeBytes: 399, neededBytes: 500))
        #expect(try directory.entries.contains(".reserve-cam"), "there is room to write still")
        look(99)
        #expect(try !directory.entries.contains(".reserve-cam"))
        look(600)
        #expect(disk.refusal == nil && disk.level == .low)
        #expect(try directory.entries.contains(".reserve-cam"))
    }
}
