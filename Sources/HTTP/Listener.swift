import Posix

/// Lets an array hold listening sockets, which cannot be copied.
final class Listener: Sendable {
    let socket: ListeningSocket

    init(_ socket: consuming ListeningSocket) {
        self.socket = socket
    }
}
