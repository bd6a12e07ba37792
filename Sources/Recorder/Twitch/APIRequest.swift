import Fetch
import FoundationEssentials
import JSON

extension APIRequest {
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

extension APIAnswer {
    /// The content; `nil` if it is not JSON.
    var json: JSONValue? { try? JSONReader.read(body) }

    /// The token that was asked for; of visible ASCII, for it goes into a header field.
    func token() throws(HelixError) -> Secret {
        guard status == 200 else { throw .refused(status: status, message: "token: \(message)") }
        guard let text = json?["access_token"]?.string, !text.isEmpty,
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { throw .malformed("token") }
        return Secret(Array(text.utf8))
    }

    /// The server's words, without what would break a line, and not too many.
    var message: String {
        let text = json?["message"]?.string ?? "no reason given"
        return String(
            text.unicodeScalars.filter { $0.value >= 0x20 }.prefix(200).map(Character.init)
        )
    }
}
