package import Posix
import StreamVaultTelemetry

/// The runs of ingest clients in the telemetry directory: finds, creates and resumes them.
package final class IngestDirectory {
    /// Names in total, because a segment remains when its run has ended.
    static let maxNames = 64

    /// Files that are examined in search of runs to resume.
    private static let maxEntries = 4096

    private let path: String
    private let bootID = BootID.current()
    /// Names of segments that an exporter publishes or has published for clients.
    private var names: Set<String> = []
    /// Runs from before this exporter's start whose processes may still be alive.
    private var held: [String: RelayedSegment] = [:]
    private let heldUntil: BootTime
    /// Names of recorders that publish themselves and were running when they were last read.
    var reserved: Set<String> = []

    /// Holds the runs of a previous exporter for `resumeGrace`, so that nobody considers them dead.
    ///
    /// - Throws: when the directory is not writable.
    package init(path: String, resumeGrace: Duration, now: BootTime) throws(SystemError) {
        try FileSystem.makeDirectory(path)
        try FileSystem.checkWritable(path)
        self.path = path
        heldUntil = now.advanced(by: resumeGrace)
        for entry in try FileSystem.entries(of: path, atMost: Self.maxEntries).names {
            guard let name = RunIdentity.name(ofFile: entry),
                RelayedSegment.isRelayed("\(path)/\(entry)")
            else { continue }
            names.insert(name)
            held[name] = RelayedSegment(of: "\(path)/\(entry)", bootID: bootID)
        }
    }

    /// Names of the held runs.
    var awaitingResume: [String] { held.keys.sorted() }

    /// When held runs are abandoned; `nil` when there are none.
    var deadline: BootTime? { held.isEmpty ? nil : heldUntil }

    /// Abandons the runs whose processes did not reconnect in time: they count as dead.
    ///
    /// - Returns: their names.
    func abandonOverdue(at now: BootTime) -> [String] {
        guard !held.isEmpty, now >= heldUntil else { return [] }
        defer { held = [:] }
        return awaitingResume
    }

    /// The run of a `hello`: the held run of the same process, or else the next run of its name.
    func open(_ hello: IngestHello) throws(IngestError) -> IngestRun {
        try checkReservation(of: hello.name)
        if !names.contains(hello.name), names.count >= Self.maxNames { forgetRemovedNames() }
        guard names.contains(hello.name) || names.count < Self.maxNames else {
            throw IngestError(.room, "the directory already has \(Self.maxNames) names")
        }
        let previous = held.removeValue(forKey: hello.name)
        if let previous, previous.identity.runID == hello.runID,
            let publisher = try? Publisher(resuming: previous)
        {
            return IngestRun(publisher, name: hello.name, isResumed: true)
        }
        previous?.abandon()
        let publisher = try start(hello)
        names.insert(hello.name)
        return IngestRun(publisher, name: hello.name, isResumed: false)
    }

    /// Refuses the name of a recorder whose file was removed or overwritten: it will publish again.
    ///
    /// If the file exists, its lock shows whether that recorder is still running.
    private func checkReservation(of name: String) throws(IngestError) {
        guard reserved.contains(name) else { return }
        var reader = SegmentReader(path: "\(path)/\(name).telemetry", bootID: bootID)
        guard (try? reader.snapshot()) == nil else { return }
        throw IngestError(.name, "a recorder named \"\(name)\" is publishing itself")
    }

    /// Frees the names whose segments have been removed.
    private func forgetRemovedNames() {
        names = names.filter { (try? FileSystem.status(of: "\(path)/\($0).telemetry")) != nil }
    }

    private func start(_ hello: IngestHello) throws(IngestError) -> Publisher {
        let publisher: Publisher
        do throws(PublisherError) {
            publisher = try Publisher(RunIdentity(hello), directory: path, phases: hello.phases)
        } catch {
            if case .nameTaken = error { throw IngestError(.name, "\(error)") }
            throw IngestError(.message, "\(error)")
        }
        guard publisher.isPublished else {
            let reason = publisher.warning ?? "telemetry is not published"
            unsafe publisher.releaseMemory()  // There are no handles.
            throw IngestError(.segment, reason)
        }
        return publisher
    }
}

extension RunIdentity {
    fileprivate init(_ hello: IngestHello) {
        // Without a promised interval, one that never passes: such a process is never considered hung.
        let interval = hello.heartbeatInterval ?? .nanoseconds(UInt64.max)
        self.init(starting: hello.name, hello.version, heartbeatInterval: interval)
        isRelayed = true
        if let runID = hello.runID { self.runID = runID }
    }
}
