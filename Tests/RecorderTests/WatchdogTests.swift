import Foundation
import Glibc
import HTTP
import Posix
import StreamVaultTelemetry
import Testing

@testable import Recorder

private let never = BootTime(nanoseconds: .max)

/// Long, but for what is told.
private func timeouts(
    signal: Duration = .seconds(3600),
    loop: Duration = .seconds(3600),
    end: Duration = .seconds(3600)
) -> Watchdog.Timeouts {
    Watchdog.Timeouts(signal: signal, loop: loop, end: end)
}

/// Each in a process of its own: the watchdog takes over its signals, and ends it.
@Suite("Watchdog", .timeLimit(.minutes(5)))
struct WatchdogTests {
    @Test("a main loop that runs receives every signal, in order")
    func relay() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let wakeup = try Wakeup()
            var loop = MainLoop(wakeup, try Watchdog(timeouts()))
            for signal in [SIGUSR1, SIGTERM, SIGINT, SIGUSR1] {
                kill(getpid(), signal)
                guard try loop.wait(until: never) == signal else { exit(3) }
            }
            exit(0)
        }
    }

    @Test("a signal to stop ends the process in time, whatever the main thread does")
    func deadline() async {
        await #expect(processExitsWith: .exitCode(1)) {
            let watchdog = try Watchdog(timeouts(end: .milliseconds(200)))
            kill(getpid(), SIGTERM)
            while true { _ = watchdog.descriptor }
        }
    }

    @Test("a shutdown without a signal is limited too")
    func drained() async {
        await #expect(processExitsWith: .exitCode(1)) {
            try Watchdog(timeouts(end: .milliseconds(200))).limitShutdown()
            while true { pause() }
        }
    }

    @Test("other signals limit nothing")
    func drain() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let watchdog = try Watchdog(timeouts(signal: .milliseconds(1), end: .milliseconds(1)))
            try watchdog.stopInPlace { _, _ in exit(4) }
            kill(getpid(), SIGUSR1)
            var loop = EventLoop()
            loop.watch(watchdog.descriptor, for: .reading)
            while try loop.wait(until: nil) == 0 {}
            // Time enough for the end that must not come.
            _ = try StopSignal().wait(until: BootTime.now().advanced(by: .milliseconds(100)))
            exit(0)
        }
    }

    @Test("if the main loop hangs, the recordings are stopped without it and the process ends")
    func standsStill() async {
        await #expect(processExitsWith: .exitCode(1)) {
            let watchdog = try Watchdog(timeouts(signal: .milliseconds(100)))
            try watchdog.stopInPlace { request, standsStill in
                guard request.signal == SIGINT, standsStill() else { exit(3) }
            }
            kill(getpid(), SIGINT)
            while true { pause() }
        }
    }

    @Test("so it is without a signal, and a main loop that runs again gets a request to stop")
    func hangs() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let watchdog = try Watchdog(timeouts(loop: .milliseconds(100)))
            let begun = try StopSignal()
            try watchdog.stopInPlace { request, standsStill in
                guard request.signal == 0 else { exit(3) }
                begun.request()
                while standsStill() {}
            }
            var loop = MainLoop(try Wakeup(), watchdog)
            _ = begun.wait(until: never)
            exit(try loop.wait(until: never) == SIGTERM ? 0 : 4)
        }
    }

    @Test(
        "each phase of a shutdown counts as progress of the main thread, also one without a wait"
    )
    func phases() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let plan = ShutdownPlan(gracePeriod: .seconds(3600))
            let bench = try APIBench([], phases: plan.declared)
            let watchdog = try Watchdog(timeouts(loop: .milliseconds(100)))
            let (begun, next) = (try StopSignal(), try StopSignal())
            try watchdog.stopInPlace { _, standsStill in
                begun.request()
                _ = next.wait(until: never)
                exit(standsStill() ? 3 : 0)
            }
            let services = Shutdown.Services(
                broadcaster: RunningService(tasks: []) { _ in _ = begun.wait(until: never) },
                cleanup: RunningService(tasks: []) { _ in },
                eventSub: RunningService(tasks: []) { _ in
                    next.request()
                    while true { pause() }
                }
            )
            let loop = MainLoop(bench.context.wakeup, watchdog)
            var shutdown = Shutdown(plan, bench.registry, bench.context, services, loop)
            _ = try shutdown.run(signal: SIGTERM)
        }
    }

    @Test(
        "after the shutdown nothing is done in place of the main loop, and the process still ends"
    )
    func over() async {
        await #expect(processExitsWith: .exitCode(1)) {
            let end = Duration.milliseconds(200)
            let watchdog = try Watchdog(timeouts(signal: .milliseconds(5), loop: end, end: end))
            try watchdog.stopInPlace { _, _ in exit(3) }
            watchdog.shutdownEnded()
            kill(getpid(), SIGTERM)
            while true { pause() }
        }
    }

    @Test("the service manager is notified of the start, of a running main loop, and of the stop")
    func serviceManager() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let path = "/tmp/notify-\(getpid())"
            let manager = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            let bound = withUnsafePointer(to: address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(manager, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            guard bound == 0 else { exit(3) }
            let watchdog = try Watchdog(
                timeouts(loop: .milliseconds(50)),
                environment: ["NOTIFY_SOCKET": path]
            )
            unlink(path)
            watchdog.reportReady()
            var heard: [String] = []
            while !heard.contains("STOPPING=1") {
                watchdog.loopTurned()
                var bytes = [UInt8](repeating: 0, count: 64)
                let count = recv(manager, &bytes, bytes.count, 0)
                heard.append(String(decoding: bytes.prefix(max(0, count)), as: UTF8.self))
                if heard.contains("WATCHDOG=1") { kill(getpid(), SIGTERM) }
            }
            exit(heard.first == "READY=1" ? 0 : 4)
        }
    }

    @Test(
        "its thread receives the signals, since the main thread blocks them and may hang in the kernel"
    )
    func mask() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let watchdog = try Watchdog(timeouts())
            var mask = sigset_t()
            pthread_sigmask(SIG_BLOCK, nil, &mask)
            withExtendedLifetime(watchdog) {
                exit(sigismember(&mask, SIGTERM) == 1 ? 0 : 3)
            }
        }
    }
}

@Suite("Stopping without the main loop", .timeLimit(.minutes(5)))
struct EmergencyStopTests {
    private let plan = ShutdownPlan(gracePeriod: .seconds(60))

    @Test("recordings are finalized, the database is closed, and the telemetry has the final state")
    func finalized() throws {
        let bench = try APIBench([.packets("gate", record: .always)], phases: plan.declared)
        bench.registry.open()
        try waitFor("a recording") { bench.registry.active.contains { $0.bytes > 0 } }
        EmergencyStop(plan: plan, registry: bench.registry, context: bench.context)
            .run(StopRequest(signal: SIGTERM, at: .now())) { true }
        #expect(bench.registry.workers[0].hasEnded)
        #expect(try bench.files.entries.contains { $0.hasSuffix(".ts") })
        let outcomes = bench.context.publisher.endedPhases
        #expect(outcomes.map(\.name) == ["signal", "recordings", "database"])
        #expect(outcomes.map(\.outcome) == [.timeout, .ok, .ok])
        var reader = SegmentReader(path: "\(bench.files.path)/bench.telemetry")
        let lifecycle = try reader.snapshot().contents.lifecycle
        #expect(lifecycle.state == .stopped && lifecycle.signal == SIGTERM)
        #expect(lifecycle.exitStatus == 1)
        #expect(try bench.logged().contains("Main loop stood still"))
        #expect(bench.api().health().status == .ok)
    }

    @Test("a main loop that runs again does the shutdown itself")
    func recovered() throws {
        let bench = try APIBench([.packets("gate", record: .always)], phases: plan.declared)
        bench.registry.open()
        try waitFor("a recording") { bench.registry.active.count == 1 }
        EmergencyStop(plan: plan, registry: bench.registry, context: bench.context)
            .run(StopRequest(signal: SIGTERM, at: .now())) { false }
        #expect(!bench.context.publisher.endedPhases.map(\.name).contains("database"))
        try bench.close()
        try waitFor("its row") { try bench.statuses(of: "gate") == ["interrupted"] }
    }
}
