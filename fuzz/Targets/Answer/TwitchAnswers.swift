import Foundation
import FuzzSupport
import JSON

@testable import Fetch
@testable import Twitch

private let application = TwitchSettings.Application(
    clientID: "id",
    callback: address("https://example.org/eventsub"),
    api: address("https://api.twitch.tv/helix"),
    auth: address("https://id.twitch.tv/oauth2/token")
)

/// A token gets into a header field, and nothing else with it.
func authorize(_ body: [UInt8]) {
    let answer = APIAnswer(status: 200, body: body)
    let refusal = answer.message.unicodeScalars
    require(refusal.count <= 200 && refusal.allSatisfy { $0.value >= 0x20 }, "words: \(refusal)")
    guard let token = try? answer.token() else { return }
    let request = HelixCall.users(logins: ["a"]).request(application, token)
    let field = request.headers["Authorization"] ?? ""
    require(field.utf8.allSatisfy { (0x20...0x7E).contains($0) }, "one field: \(field)")
}

/// What Twitch lists is asked about again: ids of any form stay in the query.
func list(_ body: [UInt8]) {
    let call = HelixCall.users(logins: [])
    let answer = HelixAnswer(call: call, answer: APIAnswer(status: 200, body: body))
    guard let ids = try? answer.list({ $0["id"]?.string }) else { return }
    let url = HelixCall.streams(broadcasterIDs: ids).request(application, Secret([])).url
    require(url.host() == "api.twitch.tv" && url.path == "/helix/streams", "there: \(url)")
    let query = URLComponents(url: url, resolvingAgainstBaseURL: false)?.queryItems ?? []
    require(query.dropLast().map { $0.value ?? "" } == ids, "those ids: \(url)")
}

private func address(_ text: String) -> URL {
    guard let url = URL(string: text) else { fatalError(text) }
    return url
}
