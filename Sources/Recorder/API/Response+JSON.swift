import HTTP
import JSON
import Posix

extension Response {
    static func json(_ status: Status, _ value: JSONValue) -> Response {
        Response(
            status,
            contentType: "application/json",
            body: JSONWriter.write(value, .line)
        )
    }

    /// Says in words why something is not done.
    static func problem(_ status: Status, _ error: String) -> Response {
        .json(status, ["error": .string(error)])
    }

    /// Asks to come again in so many seconds.
    static func unavailable(
        _ error: String,
        retryAfter seconds: Int,
        _ status: Status = .unavailable
    ) -> Response {
        var response = problem(status, error)
        response.headers = [("Retry-After", "\(seconds)")]
        return response
    }

    static func refusing(_ refusal: Refusal) -> Response {
        switch refusal {
        case .starting: unavailable("the recorder is starting", retryAfter: 1)
        case .draining: unavailable("the recorder is draining", retryAfter: 60)
        case .stopping(let secondsLeft):
            unavailable("the recorder is stopping", retryAfter: Int(secondsLeft) + 1)
        case .noSpace:
            unavailable(
                "the disk is full or cannot be written",
                retryAfter: 60,
                .insufficientStorage
            )
        case .failed(let error): unavailable("not started: \(error)", retryAfter: 10)
        }
    }
}
