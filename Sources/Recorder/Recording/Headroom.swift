import Posix

/// Whether the process can have what a stream needs: descriptors, and a thread or a process.
///
/// Without it, a thousand streams that each hold a little keep one another from recording at all.
enum Headroom {
    /// Takes so many pipes and a thread for a moment; `nil` when they can be had.
    static func shortage(pipes count: Int = 4) -> SystemError? {
        do throws(SystemError) {
            try takePipes(count)
            try DetachedThread.start(named: "headroom") {}
            return nil
        } catch {
            return error
        }
    }

    /// Holds them all at the same time.
    private static func takePipes(_ count: Int) throws(SystemError) {
        guard count > 0 else { return }
        let pipe = try Pipe()
        try takePipes(count - 1)
        _ = consume pipe
    }
}
