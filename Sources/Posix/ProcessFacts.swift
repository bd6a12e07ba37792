import Glibc

/// What `/proc/self` says of this process, for the usual `process_` metrics.
package struct ProcessFacts: Sendable {
    /// User and system time together.
    package var cpuNanoseconds: UInt64 = 0
    package var residentBytes: UInt64 = 0
    package var virtualBytes: UInt64 = 0
    package var openDescriptors: UInt64 = 0
    package var mostDescriptors: UInt64 = 0
    package var startedAt = WallTime(nanoseconds: 0)

    /// Zeros for what cannot be read.
    package init() {
        var times = timespec()
        unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &times)
        cpuNanoseconds = UInt64(clamping: times.tv_sec).multipliedWithSaturation(by: 1_000_000_000)
            .addingWithSaturation(UInt64(clamping: times.tv_nsec))
        openDescriptors = UInt64(
            clamping: (try? FileSystem.entries(of: "/proc/self/fd").count - 1) ?? 0
        )
        mostDescriptors = SystemError.descriptorLimit
        readStatus()
    }

    /// Fields of `/proc/self/stat` after the name in parentheses, counted as in `proc(5)`.
    private mutating func readStatus() {
        guard let file = try? FileDescriptor(opening: "/proc/self/stat", O_RDONLY),
            let bytes = try? file.bytes(at: 0, count: 4096),
            let end = bytes.lastIndex(of: UInt8(ascii: ")"))
        else { return }
        let fields = bytes[(end + 1)...].split(separator: UInt8(ascii: " ")).map {
            UInt64(String(decoding: $0, as: UTF8.self)) ?? 0
        }
        guard fields.count > 21 else { return }
        let ticks = UInt64(clamping: sysconf(Int32(_SC_CLK_TCK)))
        virtualBytes = fields[20]
        let pageBytes = UInt64(clamping: sysconf(Int32(_SC_PAGESIZE)))
        residentBytes = fields[21].multipliedWithSaturation(by: pageBytes)
        let sinceBoot = fields[19].multipliedWithSaturation(by: 1_000_000_000 / max(1, ticks))
        let boot = WallTime.now().nanoseconds &- BootTime.now().nanoseconds
        startedAt = WallTime(nanoseconds: boot &+ sinceBoot)
    }
}
