package import Posix

/// Who writes a segment: written once, before the file gets its name.
package struct Identity: Hashable, Sendable {
    static let nameBytes = 64
    static let versionBytes = 64

    package var name: String
    package var version: String
    /// Sixteen random bytes, new with every start.
    package var runID: [UInt8]
    package var bootID: BootID
    package var startedBoot: BootTime
    package var startedWall: WallTime
    /// Nanoseconds between two heartbeats, as promised; the largest number where none are.
    package var heartbeatInterval: UInt64
    /// Whether an exporter holds the lock for the process, which speaks to its ingest socket: the exporter's death is not
    /// the process's.
    package var isRelayed = false

    package var promisesHeartbeats: Bool { heartbeatInterval < .max }

    /// The wall clock's time at a stamp of this run; the same for the same stamp, however the clock is set meanwhile.
    package func wall(_ time: BootTime) -> WallTime {
        WallTime(
            nanoseconds: startedWall.nanoseconds &+ time.nanoseconds &- startedBoot.nanoseconds
        )
    }

    /// The nanoseconds, modulo 2^64, that the wall clock was set by since the run began, if it shows `wall` at `now`.
    ///
    /// In whole seconds: two clocks cannot be read at once, and the same stamp is to have the same time at every look.
    func clockStep(at now: BootTime, showing wall: WallTime) -> UInt64 {
        let difference = Int64(bitPattern: wall.nanoseconds &- self.wall(now).nanoseconds)
        return UInt64(bitPattern: Int64((Double(difference) / 1e9).rounded()) &* 1_000_000_000)
    }

    /// Whether `name` may name a recorder and its file: `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, at most 63 characters.
    package static func isName(_ name: String) -> Bool {
        guard (1...63).contains(name.utf8.count), name.utf8.first != dash, name.utf8.last != dash
        else { return false }
        return name.utf8.allSatisfy {
            $0 == dash || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
        }
    }
}

private let dash = UInt8(ascii: "-")
