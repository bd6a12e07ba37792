import Glibc

/// A system call that failed, and the `errno` it left.
package struct SystemError: Error, Equatable, CustomStringConvertible {
    package let call: String
    package let code: CInt

    package init(call: String, code: CInt) {
        self.call = call
        self.code = code
    }

    /// The manual page's name of the call, the error's text, and its number.
    package var description: String { "\(call): \(reason) (\(code))" }

    /// The error's text alone, as `strerror(3)` gives it.
    package var reason: String { unsafe String(cString: strerror(code)) }

    /// What an operator can do about it; `nil` where the error says enough.
    package var remedy: String? {
        switch code {
        case EMFILE:
            "this process may have \(Self.descriptorLimit) files open: raise LimitNOFILE= or ulimit -n"
        case ENFILE: "all processes together have too many files open: raise fs.file-max"
        case EAGAIN where call.hasPrefix("pthread_create"):
            "raise TasksMax=, the container's limit of processes, or ulimit -u"
        case EADDRINUSE: "another process listens there: stop it, or choose another address"
        case EADDRNOTAVAIL: "no interface of this machine has the address"
        case EACCES where call.hasPrefix("bind"): "ports below 1024 need CAP_NET_BIND_SERVICE"
        default: nil
        }
    }

    /// The error with its remedy, if there is one.
    package var withRemedy: String { remedy.map { "\(self); \($0)" } ?? description }

    /// Descriptors that this process may have, `RLIMIT_NOFILE`.
    package static var descriptorLimit: UInt64 {
        var limit = rlimit()
        let result = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return result == 0 ? UInt64(limit.rlim_cur) : .max
    }

    /// Whether descriptors or memory ran out, which passes when something is closed.
    package var isShortage: Bool { [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(code) }
}

/// Runs a call that reports failure as `-1`, restarting it when a signal interrupts it.
///
/// Not for `close(2)`: on Linux the descriptor is gone even after `EINTR`.
@discardableResult
package func retrying<T: SignedInteger>(
    _ call: @autoclosure () -> String,
    _ body: () -> T
) throws(SystemError) -> T {
    while true {
        let result = body()
        if result != -1 { return result }
        let code = errno  // Read at once: any later call may overwrite it.
        guard code == EINTR else { throw SystemError(call: call(), code: code) }
    }
}
