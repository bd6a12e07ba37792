/// How much a client may ask of a server.
package struct Limits: Sendable {
    /// Open at once; beyond it one makes room, see `Admission`.
    package var connections = 256
    /// For the requests of one turn; those that are left wait for the next, behind the others.
    package var turn = Duration.milliseconds(5)
    /// The longest head of a request.
    package var headBytes = 8192
    /// The longest content of a request; 0 refuses any.
    package var contentBytes = 0
    /// From a request's first byte, or from the start of a connection that stays silent, to the request's last byte.
    package var request = Duration.seconds(10)
    /// From a response's first byte until the client has taken the last.
    package var response = Duration.seconds(10)
    /// Between two requests of a connection.
    package var idle = Duration.seconds(300)
    /// Of all responses together that clients have not taken; beyond it the slowest reader loses its connection.
    package var responseBytes = 16 << 20
    /// For the client to close a connection that the server has finished; until then its last bytes are at risk.
    package var drain = Duration.seconds(2)

    package init() {}
}
