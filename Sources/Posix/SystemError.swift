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
