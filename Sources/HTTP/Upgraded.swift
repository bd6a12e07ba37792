package import Posix

/// A connection that has left the server: after a 101 it speaks another protocol (RFC 9110 §7.8).
package struct Upgraded: ~Copyable, Sendable {
    package let socket: Socket
    /// What has arrived after the request, and is of the new protocol.
    package let received: [UInt8]
    /// As the handler set it in the response.
    package let tag: UInt64?
}
