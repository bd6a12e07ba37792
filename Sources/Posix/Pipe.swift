import Glibc

/// Both ends of a `pipe(2)`, close-on-exec.
package struct Pipe: ~Copyable, Sendable {
    package let reader: FileDescriptor
    package let writer: FileDescriptor

    package init() throws(SystemError) {
        var ends: [CInt] = [-1, -1]
        try retrying("pipe") { unsafe pipe(&ends) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        reader = FileDescriptor(adopting: ends[0])
        writer = FileDescriptor(adopting: ends[1])
    }
}
