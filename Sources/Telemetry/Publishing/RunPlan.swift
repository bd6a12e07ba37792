import Posix

/// All that is known of a run before its segment exists.
struct RunPlan {
    let identity: Identity
    let layout: SegmentLayout
    let phases: [ShutdownPhase]

    /// A run that has its segment, or works on private memory.
    struct Start: ~Copyable {
        let board: Board
        let file: FileDescriptor?
        let trouble: String?
    }

    /// Starts on a file, or without one where that fails; `nil` when a recorder of this name is running.
    func start(in directory: String) -> Start? {
        do throws(SystemError) {
            guard var birth = try SegmentBirth.begin(directory: directory, name: identity.name)
            else { return nil }
            return try start(&birth)
        } catch {
            let memory = SharedMemory(privateWords: layout.fileSize / 8)
            let board = Board(self, memory, Inheritance())
            return Start(board: board, file: nil, trouble: "telemetry is not published: \(error)")
        }
    }

    private func start(_ birth: inout SegmentBirth) throws(SystemError) -> Start {
        var (inheritance, trouble): (_, String?) = (Inheritance(), nil)
        do throws(SegmentError) {
            inheritance = try birth.inheritance()
        } catch {
            trouble = "counts of earlier runs are lost: their segment is \(error)"
        }
        let board = Board(self, try birth.memory(layout), inheritance)
        return Start(board: board, file: try birth.finish(), trouble: trouble)
    }
}

extension Identity {
    /// A run that starts now.
    package init(starting name: String, _ version: String, heartbeatInterval: Duration) {
        var generator = SystemRandomNumberGenerator()
        self.init(
            name: name,
            version: version,
            runID: (0..<16).map { _ in .random(in: 0...255, using: &generator) },
            bootID: .current(),
            startedBoot: .now(),
            startedWall: .now(),
            heartbeatInterval: heartbeatInterval.wholeNanoseconds
        )
    }
}

extension ShutdownPhase {
    static func areValid(_ phases: [ShutdownPhase]) -> Bool {
        phases.count <= Lifecycle.mostPhases && Set(phases.map(\.name)).count == phases.count
            && phases.allSatisfy { (1..<Lifecycle.phaseNameBytes).contains($0.name.utf8.count) }
    }
}
