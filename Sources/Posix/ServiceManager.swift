import Glibc

/// The service manager that started this process, such as systemd; see `sd_notify(3)`.
package struct ServiceManager: ~Copyable, Sendable {
    /// States that are reported.
    package enum State: String, Sendable {
        case ready = "READY=1"
        case alive = "WATCHDOG=1"
        case stopping = "STOPPING=1"
    }

    private let socket: FileDescriptor

    /// Finds it by `NOTIFY_SOCKET`; `nil` when there is none, or it is not reached: then nothing is reported.
    package init?(_ environment: [String: String]) {
        guard let path = environment["NOTIFY_SOCKET"], path.hasPrefix("/"),
            path.utf8.count <= ListenAddress.longestPath,
            let socket = try? FileDescriptor.datagramSocket(),
            socket.connect(to: SocketAddress(unixPath: path)) == 0
        else { return nil }
        self.socket = socket
    }

    /// Reports a state, without waiting: one that finds no room is lost, and the next one is on its way.
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
