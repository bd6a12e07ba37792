import Glibc
import Posix
import StreamVaultTelemetry
import TelemetryStage

/// A recorder that records nothing, for tests to start and to kill.
@main
enum Main {
    static func main() {
        let words = CommandLine.arguments
        guard words.count >= 4 else { exit(64) }
        let (command, directory, name) = (words[1], words[2], words[3])
        let argument = words.count > 4 ? words[4] : ""
        switch command {
        case "hold": hold(directory, name)
        case "parent": parent(directory, name)
        case "live":
            var life = RandomLife(directory, name, seed: UInt64(argument) ?? 0)
            life.run()
        case "confined": confined(directory, name, bytes: UInt(argument) ?? 0)
        case "republish": republish(directory, name)
        case "fault": fault(directory, name, argument)
        case "stage": stage(name, directory)
        case "measure": Measurement(directory, name).run()
        default: exit(64)
        }
    }

    /// Says how the start went, and waits to be killed.
    private static func hold(_ directory: String, _ name: String) {
        let publisher = start(directory, name)
        while true { pause() }
        withExtendedLifetime(publisher) {}
    }

    /// Puts a scene into the directory, and keeps its recorders alive but for one that is hung.
    private static func stage(_ name: String, _ directory: String) {
        guard let scene = Scene(rawValue: name), let runs = try? scene.set(in: directory) else {
            exit(64)
        }
        say("staged")
        while true {
            sleep(1)
            if scene != .hung { for run in runs { run.liveOn() } }
        }
    }

    /// Like `hold`, with a child that outlives it.
    private static func parent(_ directory: String, _ name: String) {
        let publisher = start(directory, name)
        var child: pid_t = 0
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("600"), nil]
        posix_spawnp(&child, "sleep", nil, nil, &arguments, nil)
        say("child \(child)")
        while true { pause() }
        withExtendedLifetime(publisher) {}
    }

    /// Loses its file while the disk is full.
    private static func republish(_ directory: String, _ name: String) {
        signal(SIGXFSZ, SIG_IGN)
        guard
            let publisher = try? Publisher(
                RunIdentity(starting: name, "1.0", heartbeatInterval: .seconds(1)),
                directory: directory,
                phases: [],
                capacity: RandomLife.capacity
            )
        else { exit(1) }
        say(publisher.warning ?? "running")
        let counter = publisher.counter("test_total", "Test.")
        counter.add(7)
        unlink("\(directory)/\(name).telemetry")
        var limit = rlimit(rlim_cur: 4096, rlim_max: .max)
        setrlimit(__rlimit_resource_t(1), &limit)
        if case .unpublished(let problem) = publisher.check()?.kind {
            say(String(problem.prefix { $0 != ":" }))
        }
        counter.add(8)
        limit.rlim_cur = .max
        setrlimit(__rlimit_resource_t(1), &limit)
        if case .published(let cause) = publisher.check()?.kind { say(cause.rawValue) }
        var reader = SegmentReader(path: "\(directory)/\(name).telemetry")
        guard let snapshot = try? reader.snapshot(),
            let series = snapshot.contents.series.first(where: {
                snapshot.contents.families[$0.family].name == "test_total"
            })
        else { exit(1) }
        say("\(snapshot.words[series.word])")
    }

    /// Ends by a signal that is none of the publisher's business.
    private static func fault(_ directory: String, _ name: String, _ kind: String) {
        let publisher = start(directory, name)
        switch kind {
        case "bus":
            let file = open("\(directory)/mapped", O_RDWR | O_CREAT, 0o600)
            ftruncate(file, 4096)
            let memory = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
            ftruncate(file, 0)
            memory?.storeBytes(of: 1, as: UInt8.self)
        default: UnsafeMutableRawPointer(bitPattern: 8)?.storeBytes(of: 1, as: UInt8.self)
        }
        withExtendedLifetime(publisher) {}
    }

    /// Like a start on a disk with room for so many bytes only.
    private static func confined(_ directory: String, _ name: String, bytes: UInt) {
        signal(SIGXFSZ, SIG_IGN)
        var limit = rlimit(rlim_cur: bytes, rlim_max: bytes)
        setrlimit(__rlimit_resource_t(1), &limit)
        let publisher = start(directory, name)
        let counter = publisher.counter("test_total", "Test.")
        for _ in 0..<1000 { counter.add() }
        publisher.startRecording(id: 1, stream: "a", path: "/a", container: "ts").end(.completed)
        say("recorded")
    }
}

/// Starts a publisher and says so; ends the process where the name is taken.
func start(_ directory: String, _ name: String) -> Publisher {
    do throws(PublisherError) {
        let publisher = try Publisher(
            directory: directory,
            name: name,
            version: "1.0",
            phases: RandomLife.phases.map { PhaseBudget($0, budget: .seconds(10)) },
            capacity: RandomLife.capacity
        )
        say(publisher.warning ?? "running")
        return publisher
    } catch {
        say("refused: \(error)")
        exit(1)
    }
}

/// One line to whoever watches.
func say(_ line: String) {
    let bytes = Array("\(line)\n".utf8)
    bytes.withUnsafeBytes { _ = write(1, $0.baseAddress, $0.count) }
}
