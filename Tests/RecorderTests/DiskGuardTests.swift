import Foundation
import Glibc
import Posix
import StreamVaultTelemetry
import Testing

@testable import Media
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
            (.full, 0, .full), (.unwritable, 1000, .ample), (.unwritable, 399, .full),
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
        var reserve = DiskReserve(directory.path, of: "cam")
        try reserve.allocate(1 << 20)
        let status = try FileSystem.status(of: reserve.path)
        #expect(status.st_size == 1 << 20 && status.st_blocks * 512 >= 1 << 20)
        let releases = [reserve.release(), reserve.release()]
        #expect(releases == [true, false])
        #expect(try directory.entries.isEmpty)
        let directoryPath = directory.path
        #expect(throws: SystemError.self) {
            var tooLarge = DiskReserve(directoryPath, of: "cam")
            try tooLarge.allocate(1 << 60)
        }
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
        func look(_ free: UInt64) { disk.apply(DiskSpace(freeBytes: free, sizeBytes: 10_000)) }
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

    @Test(
        "a directory that is mounted read-only is unwritable, whatever room there is, and refuses"
    )
    func readOnly() throws {
        let bench = try APIBench([.silence("cam")])
        let directory = FilesDirectory()
        let disk = DiskGuard(
            directory.path,
            recorder: "cam",
            DiskSettings(warnBelow: 0, refuseBelow: 0, reserve: 4096),
            bench.context.metrics,
            bench.context.log
        )
        let level = "streamvault_disk_level"
        disk.check()
        #expect(disk.level == .ample && disk.refusal == nil)
        let mount = ["mount", "-t", "tmpfs", "-o", "ro", "none", directory.path]
        let isMounted = try filesRun(mount) == 0
        defer { if isMounted { _ = try? filesRun(["umount", "-l", directory.path]) } }
        if !isMounted {
            rename(directory.path, directory.path + ".away")
            try Data().write(to: URL(fileURLWithPath: directory.path))
        }
        for _ in 0..<3 { disk.check() }
        #expect(disk.level == .unwritable)
        #expect(disk.refusal?.reason == .permission)
        #expect(disk.refusal?.error.code == (isMounted ? EROFS : EACCES))
        #expect(try bench.word(level, ["unwritable"]) == 1.0.bitPattern)
        #expect(try bench.word(level, ["ample"]) == 0)
        if isMounted {
            _ = try filesRun(["umount", directory.path])
        } else {
            unlink(directory.path)
            rename(directory.path + ".away", directory.path)
        }
        for _ in 0..<3 { disk.check() }
        #expect(disk.level == .ample && disk.refusal == nil)
        let log = try bench.logged()
        #expect(log.matches(of: /cannot be written: new recordings/).count == 1, "\(log)")
        #expect(log.matches(of: /can be written again/).count == 1, "\(log)")
        #expect(!log.contains("reserve"), "\(log)")
        try bench.close()
    }

    @Test("a disk that fills at once is one line of the log, and one that fills slowly is two")
    func messages() throws {
        for (frees, lines) in [([2000, 0, 0], 1), ([2000, 300, 0, 0], 2)] as [([UInt64], Int)] {
            let bench = try APIBench([.silence("cam")])
            let disk = DiskGuard(
                bench.files.path,
                recorder: "cam",
                DiskSettings(warnBelow: 400, refuseBelow: 400, reserve: 100),
                bench.context.metrics,
                bench.context.log
            )
            for free in frees { disk.apply(DiskSpace(freeBytes: free, sizeBytes: 10_000)) }
            let log = try bench.logged()
            #expect(log.matches(of: /level=error/).count == lines, "\(log)")
            #expect(log.matches(of: /reserve=released|reserve released/).count == 1, "\(log)")
            try bench.close()
        }
    }

    @Test("a directory that is gone is no refusal: the next recording creates it")
    func goneDirectory() throws {
        let bench = try APIBench([.silence("cam")])
        let disk = DiskGuard(
            "\(bench.files.path)/gone",
            recorder: "cam",
            DiskSettings(),
            bench.context.metrics,
            bench.context.log
        )
        disk.check()
        #expect(disk.refusal == nil && disk.level == .ample)
        try bench.close()
    }

    @Test("a reserve that somebody removed is taken again")
    func removedReserve() throws {
        var reserve = DiskReserve(directory.path, of: "cam")
        try reserve.allocate(4096)
        unlink(reserve.path)
        try reserve.allocate(4096)
        #expect(try directory.entries == [".reserve-cam"])
        _ = reserve.release()
    }

    @Test(
        "the reserve of a former name goes, that of a recorder that runs stays, and what is no file of a reserve"
    )
    func formerNames() throws {
        let directory = directory.path
        var running = DiskReserve(directory, of: "other")
        try running.allocate(4096)
        try self.directory.write("x", to: ".reserve-former")
        try self.directory.write("theirs", to: ".reserve-Their file")
        try self.directory.write("theirs", to: ".reserve-")
        try self.directory.write("x", to: "target")
        symlink("target", "\(directory)/.reserve-link")
        mkdir("\(directory)/.reserve-directory", 0o755)
        mkfifo("\(directory)/.reserve-fifo", 0o644)
        var own = DiskReserve(directory, of: "cam")
        try own.allocate(4096)
        own.removeOthers(in: directory)
        #expect(
            try self.directory.entries == [
                ".reserve-", ".reserve-Their file", ".reserve-cam", ".reserve-directory",
                ".reserve-fifo", ".reserve-link", ".reserve-other", "target",
            ]
        )
        _ = (own.release(), running.release())
    }

    @Test("a reserve whose name is a link is not taken through it", arguments: 0..<3)
    func plantedReserve(_ kind: Int) throws {
        let target = try directory.write("mine", to: "target")
        let path = "\(directory.path)/.reserve-cam"
        switch kind {
        case 0: mkfifo(path, 0o644)
        case 1: symlink("target", path)
        default: link(target, path)
        }
        let directoryPath = directory.path
        #expect(throws: SystemError.self) {
            var reserve = DiskReserve(directoryPath, of: "cam")
            try reserve.allocate(4096)
        }
        #expect(try directory.bytes(of: "target") == Array("mine".utf8))
    }

    @Test("a start makes no file to try the directory with, and removes what former ones left")
    func leftoverProbe() throws {
        try directory.write("", to: ".writable-\(getpid())")
        try directory.write("", to: ".writable-1")
        try Recorder.checkDirectory(directory.path)
        _ = try Recovery(directory: directory.path)
        #expect(try directory.entries.isEmpty)
        let file = try directory.write("", to: "file")
        #expect(throws: StartError.self) { try Recorder.checkDirectory(file) }
    }

    @Test("a disk without room gives up the reserve of the run before, at the first look")
    func fullAtTheStart() throws {
        let publisher = try Publisher(
            directory: directory.path,
            name: "cam",
            version: "1",
            phases: []
        )
        try directory.write("x", to: ".reserve-cam")
        let disk = DiskGuard(
            directory.path,
            recorder: "cam",
            DiskSettings(),
            RecorderMetrics(publisher),
            Log()
        )
        disk.apply(DiskSpace(freeBytes: 0, sizeBytes: 1 << 40))
        #expect(try !directory.entries.contains(".reserve-cam"))
    }
}
