import FoundationEssentials
import Posix

/// A request of an API: small, and answered at once.
struct APIRequest: Sendable {
    let url: URL
    var method = "GET"
    var headers: [String: String] = [:]
    var body: [UInt8] = []

    /// Asks for a token by client credentials (RFC 6749 §4.4), as Twitch wants it: all in the content.
    static func token(
        _ application: TwitchConfiguration.Application,
        _ secret: Secret
    ) -> APIRequest {
        var form = URLComponents()
        form.queryItems = [
            URLQueryItem(name: "client_id", value: application.clientID),
            URLQueryItem(name: "client_secret", value: secret.text),
            URLQueryItem(name: "grant_type", value: "client_credentials"),
        ]
        // A plus would mean a blank in a form.
        let text = (form.percentEncodedQuery ?? "").replacing("+", with: "%2B")
        var request = APIRequest(url: application.auth)
        request.method = "POST"
        request.headers = ["Content-Type": "application/x-www-form-urlencoded"]
        request.body = Array(text.utf8)
        return request
    }
}

/// What a server answered, whatever its status.
struct APIAnswer: Sendable {
    let status: Int
    let body: [UInt8]
    /// `Retry-After`, in seconds.
    var retryAfter: String?
    /// `Ratelimit-Reset`, in seconds since 1970, as Twitch sends it.
    var rateLimitReset: String?

    private static let longestPause = Duration.seconds(120)

    /// How long the server wants to be left alone; bounded, for a clock may be wrong.
    func pause(at now: WallTime) -> Duration? {
        let fromReset = rateLimitReset.flatMap { UInt64($0) }.map { reset in
            Duration.seconds(Int(clamping: reset) - Int(clamping: now.nanoseconds / 1_000_000_000))
        }
        let wish = retryAfter.flatMap { Int($0) }.map { Duration.seconds($0) } ?? fromReset
        return wish.map { min(max($0, .zero), Self.longestPause) }
    }

    /// The token that was asked for; of visible ASCII, for it goes into a header field.
    func token() throws(HelixError) -> Secret {
        guard status == 200 else { throw .refused(status: status, message: "token: \(message)") }
        struct Grant: Decodable {
            let accessToken: String
        }
        guard let text = decodedJSON(Grant.self, body)?.accessToken, !text.isEmpty,
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { throw .malformed("token") }
        return Secret(Array(text.utf8))
    }

    /// The server's words, without what would break a line, and not too many.
    var message: String {
        struct Problem: Decodable {
            let message: String
        }
        let problem = decodedJSON(Problem.self, body)
        let text = problem?.message ?? "no reason given"
        return String(
            text.unicodeScalars.filter { $0.value >= 0x20 }.prefix(200).map(Character.init)
        )
    }
}
