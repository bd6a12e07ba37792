import HTTP
import Posix

extension Response {
    static func json(_ status: Status, _ value: some Encodable) -> Response {
        guard let body = encodedJSON(value) else { return .text(.internalError, "no answer") }
        return Response(status, contentType: "application/json", body: body + [0x0A])
    }

    /// Says in words why something is not done.
    static func problem(_ status: Status, _ error: String) -> Response {
        .json(status, Problem(error: error))
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
            unavailable("no room on the disk", retryAfter: 60, .insufficientStorage)
        case .failed(let error): unavailable("not started: \(error)", retryAfter: 10)
        }
    }

    private struct Problem: Encodable {
        let error: String
    }
}
