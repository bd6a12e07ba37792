import Posix

/// All that is known of a run before its segment exists.
struct RunPlan {
    let identity: Identity
    let layout: SegmentLayout
    let phases: [ShutdownPhase]

    /// A run that has its segment, or works on private memory.
    struct Start: ~Copyable {
        let board: Board
        var file: FileDescriptor?
        let trouble: String?
        let directory: String
    }

    /// Starts on a file, or without one where that fails; `nil` when a recorder of this name is running.
    ///
    /// `patience` is for another start of the name that is under way.
    func start(in directory: String, patience: Duration = .zero) -> Start? {
        do throws(SystemError) {
            try FileSystem.makeDirectory(directory)
            let beginning = try SegmentBirth.begin(
                directory: directory,
                name: identity.name,
                patience: patience
            )
            switch consume beginning {
            case .begun(var birth): return try start(&birth, directory)
            case .running: return nil
            case .blocked(let reason): return startPrivately(directory, reason)
            }
        } catch {
            return startPrivately(directory, "\(error)")
        }
    }

    private func start(
        _ birth: inout SegmentBirth,
        _ directory: String
    ) throws(SystemError) -> Start {
        var (inheritance, trouble): (_, String?) = (Inheritance(), nil)
        do throws(SegmentError) {
            inheritance = try birth.inheritance()
        } catch {
            trouble = "counts of earlier runs are lost: their segment is \(error)"
        }
        let memory = try birth.memory(layout)
        let board = Board(self, memory, inheritance)
        do throws(SystemError) {
            let file = try birth.finish()
            return Start(board: board, file: file, trouble: trouble, directory: directory)
        } catch {
            memory.detach()
            throw error
        }
    }

    private func startPrivately(_ directory: String, _ reason: String) -> Start {
        // Without a mapping it stays private for good, but no start fails for that.
        let memory =
            (try? SharedMemory(movableWords: layout.fileSize / 8))
            ?? SharedMemory(privateWords: layout.fileSize / 8)
        return Start(
            board: Board(self, memory, Inheritance()),
            file: nil,
            trouble: "telemetry is not published: \(reason)",
            directory: directory
        )
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
        phases.count <= Lifecycle.mostPhases
            && Set(phases.map { ExactText($0.name) }).count == phases.count
            && phases.allSatisfy { (1..<Lifecycle.phaseNameBytes).contains($0.name.utf8.count) }
    }
}
