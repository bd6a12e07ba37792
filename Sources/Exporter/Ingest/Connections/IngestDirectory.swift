import Posix
import StreamVaultTelemetry

/// The runs that are published for others into the telemetry directory: finds, makes, and takes them up again.
final class IngestDirectory {
    /// Names in all, since a segment stays when its run is over.
    static let mostNames = 64

    /// Names of files that are looked at in search of runs to be resumed.
    private static let maxEntries = 4096

    private let path: String
    private let bootID = BootID.current()
    /// Names of segments that an exporter has made for others.
    private var names: Set<String> = []
    /// Runs whose process may still live, from before this exporter's start.
    private var held: [String: RelayedSegment] = [:]
    private let heldUntil: BootTime
    /// Names of recorders that publish themselves and were running when they were last seen.
    var reserved: Set<String> = []

    /// Holds the runs of which an exporter before this one was the keeper, for the time of `resumeGrace`.
    ///
    /// - Throws: when nothing can be made in the directory.
    init(path: String, resumeGrace: Duration, now: BootTime) throws(SystemError) {
        try FileSystem.makeDirectory(path)
        try FileSystem.checkWritable(path)
        self.path = path
        heldUntil = now.advanced(by: resumeGrace)
        for entry in try FileSystem.entries(of: path, atMost: Self.maxEntries).names {
            guard let name = RecorderDirectory.recorderName(entry),
                RelayedSegment.isRelayed("\(path)/\(entry)")
            else { continue }
            names.insert(name)
            held[name] = RelayedSegment(of: "\(path)/\(entry)", bootID: bootID)
        }
    }

    /// Names of the runs that wait for their process.
    var waiting: [String] { held.keys.sorted() }

    /// When the wait ends; `nil` when nobody is waited for.
    var deadline: BootTime? { held.isEmpty ? nil : heldUntil }

    /// Gives up the runs whose process did not come back in time, and names them: they are judged as dead.
    func giveUp(at now: BootTime) -> [String] {
        guard !held.isEmpty, now >= heldUntil else { return [] }
        defer { held = [:] }
        return waiting
    }

    /// The run of a `hello`: the one that waits for this very process, or else the next one of its name.
    func open(_ hello: IngestHello) throws(IngestRefusal) -> IngestRun {
        try checkReservation(of: hello.name)
        if !names.contains(hello.name), names.count >= Self.mostNames { forgetRemovedNames() }
        guard names.contains(hello.name) || names.count < Self.mostNames else {
            throw IngestRefusal(.room, "there are \(Self.mostNames) names already")
        }
        let waiting = held.removeValue(forKey: hello.name)
        if let waiting, waiting.identity.runID == hello.runID,
            let publisher = try? Publisher(resuming: waiting)
        {
            return IngestRun(publisher, name: hello.name, isResumed: true)
        }
        waiting?.giveUp()
        let publisher = try start(hello)
        names.insert(hello.name)
        return IngestRun(publisher, name: hello.name, isResumed: false)
    }

    /// Refuses the name of a recorder whose file was removed or overwritten: it is about to publish again.
    ///
    /// Where the file is there, its lock tells whether that recorder is still running.
    private func checkReservation(of name: String) throws(IngestRefusal) {
        guard reserved.contains(name) else { return }
        var reader = SegmentReader(path: "\(path)/\(name).telemetry", bootID: bootID)
        guard (try? reader.snapshot()) == nil else { return }
        throw IngestRefusal(.name, "a recorder named \"\(name)\" is publishing itself")
    }

    /// Frees the names whose segments somebody has removed.
    private func forgetRemovedNames() {
        names = names.filter { (try? FileSystem.status(of: "\(path)/\($0).telemetry")) != nil }
    }

    private func start(_ hello: IngestHello) throws(IngestRefusal) -> Publisher {
        let publisher: Publisher
        do throws(PublisherError) {
            publisher = try Publisher(Identity(hello), directory: path, phases: hello.phases)
        } catch {
            if case .nameTaken = error { throw IngestRefusal(.name, "\(error)") }
            throw IngestRefusal(.message, "\(error)")
        }
        guard publisher.isPublished else {
            let trouble = publisher.trouble ?? "telemetry is not published"
            unsafe publisher.releaseMemory()  // Nothing of it is used.
            throw IngestRefusal(.segment, trouble)
        }
        return publisher
    }
}

extension Identity {
    fileprivate init(_ hello: IngestHello) {
        // An interval that never passes: nobody is hung who promised no heartbeat.
        let interval = hello.heartbeatInterval ?? .nanoseconds(UInt64.max)
        self.init(starting: hello.name, hello.version, heartbeatInterval: interval)
        isRelayed = true
        if let runID = hello.runID { self.runID = runID }
    }
}
