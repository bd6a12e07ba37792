import FoundationEssentials

/// How to hear from Twitch when a stream begins and ends.
struct TwitchConfiguration: Equatable, Sendable {
    /// Signs the deliveries.
    var eventSubSecretFile: String?
    /// `nil` when somebody else makes the subscriptions.
    var application: Application?

    /// What subscriptions are made with.
    struct Application: Equatable, Sendable {
        let clientID: String
        var clientSecretFile: String?
        /// Where Twitch reaches `/eventsub`: https, for Twitch takes no other.
        let callback: URL
        /// Of the Helix API.
        let api: URL
        /// Where a token is had.
        let auth: URL
    }

    static let api = "https://api.twitch.tv/helix"
    static let auth = "https://id.twitch.tv/oauth2/token"
}

/// Whose broadcasts a stream is: deliveries name both, the number being the one that never changes.
struct TwitchBroadcaster: Equatable, Sendable {
    var id: String?
    /// In lower case.
    var login: String?

    func matches(_ event: EventSubNotification) -> Bool {
        id.map { $0 == event.broadcasterID } ?? (login == event.broadcasterLogin)
    }
}

extension TwitchConfiguration {
    init(reading fields: inout ConfigurationFields) {
        eventSubSecretFile = fields.text("eventsub_secret_file")
        let secret = fields.text("client_secret_file")
        let api = fields.url("api_url") ?? URL(string: Self.api)
        let auth = fields.url("auth_url") ?? URL(string: Self.auth)
        let names = ["client_id", "callback_url"]
        guard names.contains(where: { !fields.isMissing($0) }) || secret != nil else { return }
        let id = fields.text("client_id", isRequired: true)
        let callback = fields.url("callback_url", ["https"], isRequired: true)
        guard let id, let callback, let api, let auth else { return }
        application = Application(
            clientID: id,
            clientSecretFile: secret,
            callback: callback,
            api: api,
            auth: auth
        )
    }
}

extension TwitchBroadcaster {
    /// Takes `twitch_login` and `broadcaster_id` of a stream; `nil` when neither is there.
    init?(reading fields: inout ConfigurationFields) {
        login = fields.text("twitch_login")?.lowercased()
        id = fields.text("broadcaster_id")
        if let login, !(1...25).contains(login.utf8.count) || !login.utf8.allSatisfy(Self.isInLogin)
        {
            fields.report("twitch_login", "must be of letters, digits and underscores, at most 25")
        }
        if let id, id.utf8.count > 20 || !id.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            fields.report("broadcaster_id", "must be of digits, at most 20")
        }
        guard login != nil || id != nil else { return nil }
    }

    private static func isInLogin(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x61...0x7A, 0x5F: true
        default: false
        }
    }
}
