import CLinux
import Glibc

/// Both ends of a pipe, close-on-exec.
///
/// The corresponding C function is `pipe2`.
package struct Pipe: ~Copyable, Sendable {
    package let reader: FileDescriptor
    package let writer: FileDescriptor

    package init() throws(SystemError) {
        var ends: [CInt] = [-1, -1]
        try retrying("pipe2") { unsafe clinux_pipe2(&ends, O_CLOEXEC) }
        reader = FileDescriptor(adopting: ends[0])
        writer = FileDescriptor(adopting: ends[1])
    }
}
