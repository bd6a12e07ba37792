import Testing

@testable import Posix

@Suite("Event loop")
struct EventLoopTests {
    @Test(
        "rounds a timeout up, so that it never ends before its deadline",
        arguments: [
            (0, 0, 0), (5, 4, 0), (0, 1, 1), (0, 1_000_000, 1), (0, 1_000_001, 2),
            (7, 2_000_007, 2), (0, .max, CInt.max),
        ] as [(UInt64, UInt64, CInt)]
    )
    func timeout(now: UInt64, deadline: UInt64, expected: CInt) {
        let time = BootTime(nanoseconds: deadline).since(BootTime(nanoseconds: now))
        #expect(time.pollTimeout == expected)
    }

    @Test("tells which descriptors are ready")
    func ready() throws {
        let first = try Pipe()
        let second = try Pipe()
        try second.writer.writeAll([1].span)
        var loop = EventLoop()
        loop.watch(first.reader.rawValue, for: .reading)
        loop.watch(second.reader.rawValue, for: .reading)
        loop.watch(second.reader.rawValue, for: .nothing)
        #expect(try loop.wait(until: nil) == 1)
        #expect((0..<loop.count).map(loop.isReady) == [false, true, false])
    }

    @Test("returns at its deadline when nothing is ready")
    func deadline() throws {
        let pipe = try Pipe()
        var loop = EventLoop()
        loop.watch(pipe.reader.rawValue, for: .reading)
        let deadline = BootTime.now().advanced(by: .milliseconds(5))
        #expect(try loop.wait(until: deadline) == 0)
        #expect(BootTime.now() >= deadline)
    }
}
