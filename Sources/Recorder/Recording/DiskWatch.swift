import Foundation
import Posix

/// Shows how much room the disk has, on a thread of its own: a file system that hangs must not hang a shutdown.
struct DiskWatch {
    static func start(_ directory: String, _ metrics: RecorderMetrics) throws(SystemError) {
        let never = try StopSignal()
        let thread = Thread {
            repeat {
                if let space = try? DiskSpace(at: directory) { metrics.show(space) }
            } while !never.wait(until: BootTime.now().advanced(by: .seconds(2)))
        }
        thread.name = "disk"
        thread.start()
    }
}
