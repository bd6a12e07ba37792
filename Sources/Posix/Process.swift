import CLinux
import Glibc

/// Returns the variables that the process was started with, and overwrites the values of secrets where the kernel shows them.
///
/// Every process of the same user can read `/proc/PID/environ`, so the programs that this one starts can, too. To be called
/// once, before the first thread starts, because threads may read the environment.
package func processEnvironment() -> [String: String] {
    var variables: [String: String] = [:]
    var names: [String] = []
    var next = unsafe clinux_environment()
    while let entry = unsafe next?.pointee {
        unsafe next = next?.advanced(by: 1)
        guard let equals = unsafe strchr(entry, CInt(UInt8(ascii: "="))) else { continue }
        let value = unsafe equals.advanced(by: 1)
        let text = unsafe String(cString: value)
        let name = unsafe String(cString: entry).prefix(while: { $0 != "=" })
        variables[String(name)] = text
        guard isSecret(String(name)) else { continue }
        unsafe clinux_erase(value)
        names.append(String(name))
    }
    for name in names { unsafe unsetenv(name) }
    return variables
}

/// Whether the value of a variable is a secret of this process; the path of a file with a secret is not.
package func isSecret(_ variable: String) -> Bool {
    let words = variable.split(separator: "_")
    guard words.first == "STREAMVAULT", words.last != "FILE" else { return false }
    let secrets: Set<Substring> = ["TOKEN", "SECRET", "PASSWORD", "KEY", "CREDENTIALS"]
    return words.contains { secrets.contains($0) }
}

/// Statistics of this process from `/proc/self`, for the usual `process_` metrics.
package struct ProcessStatistics: Sendable {
    /// User and system time together.
    package var cpuNanoseconds: UInt64 = 0
    package var residentBytes: UInt64 = 0
    package var virtualBytes: UInt64 = 0
    package var openDescriptors: UInt64 = 0
    package var maxDescriptors: UInt64 = 0
    package var startedAt = WallTime(nanoseconds: 0)

    /// Reads them; what cannot be read is zero.
    package init() {
        var times = timespec()
        unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &times)
        cpuNanoseconds = UInt64(clamping: times.tv_sec).multipliedWithSaturation(by: 1_000_000_000)
            .addingWithSaturation(UInt64(clamping: times.tv_nsec))
        openDescriptors = UInt64(
            clamping: (try? FileSystem.entries(of: "/proc/self/fd").count - 1) ?? 0
        )
        maxDescriptors = SystemError.descriptorLimit
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

/// The service manager that started this process, such as systemd; see `sd_notify(3)`.
package struct ServiceManager: ~Copyable, Sendable {
    /// States that are reported.
    package enum State: String, Sendable {
        case ready = "READY=1"
        case alive = "WATCHDOG=1"
        case stopping = "STOPPING=1"
    }

    private let socket: FileDescriptor

    /// Connects to the socket in `NOTIFY_SOCKET`; `nil` if there is none, or it cannot be reached.
    package init?(_ environment: [String: String]) {
        guard let path = environment["NOTIFY_SOCKET"], path.hasPrefix("/"),
            path.utf8.count <= ListenAddress.maxPathBytes,
            let socket = try? FileDescriptor.datagramSocket(),
            socket.connect(to: SocketAddress(unixPath: path)) == 0
        else { return nil }
        self.socket = socket
    }

    /// Reports a state without waiting; if the socket is full, the report is lost.
    package borrowing func report(_ state: State) {
        let text = Array(state.rawValue.utf8)
        let flags = CInt(MSG_DONTWAIT | MSG_NOSIGNAL)
        _ = unsafe send(socket.rawValue, text, text.count, flags)
    }
}

extension FileDescriptor {
    fileprivate static func datagramSocket() throws(SystemError) -> FileDescriptor {
        let type = CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        return FileDescriptor(adopting: try retrying("socket") { Glibc.socket(AF_UNIX, type, 0) })
    }
}

/// Makes the allocator return blocks of 256 KiB and more to the system when they are freed.
///
/// Otherwise it would keep tens of megabytes for each thread that once handled a large segment.
package func returnLargeBlocksWhenFreed() {
    _ = clinux_map_blocks_from(256 << 10)
}

/// Keeps this process, and all that it starts from now on, from gaining privileges, with `PR_SET_NO_NEW_PRIVS`.
///
/// Programs with set-user-ID bits, such as `sudo`, or with file capabilities then run without these.
package func forbidNewPrivileges() throws(SystemError) {
    try retrying("prctl PR_SET_NO_NEW_PRIVS") { clinux_forbid_new_privileges() }
}
