package import FoundationEssentials

/// How the recorder learns that streams begin and end: values from the configuration, checked by their reader.
package struct TwitchSettings: Equatable, Sendable {
    /// File with the secret that signs the deliveries.
    package var eventSubSecretFile: String?
    /// `nil` if another program makes the subscriptions.
    package var application: Application?

    /// The application that makes the subscriptions.
    package struct Application: Equatable, Sendable {
        package let clientID: String
        package let clientSecretFile: String?
        /// Where Twitch reaches `/eventsub`; Twitch accepts only https.
        package let callback: URL
        /// The Helix API.
        package let api: URL
        /// Where tokens are issued.
        package let auth: URL

        package init(
            clientID: String,
            clientSecretFile: String? = nil,
            callback: URL,
            api: URL,
            auth: URL
        ) {
            (self.clientID, self.clientSecretFile) = (clientID, clientSecretFile)
            (self.callback, self.api, self.auth) = (callback, api, auth)
        }
    }

    package static let api = "https://api.twitch.tv/helix"
    package static let auth = "https://id.twitch.tv/oauth2/token"

    package init() {}
}

/// The broadcaster whose broadcasts switch a stream.
///
/// Deliveries contain id and login; only the id never changes.
package struct TwitchBroadcaster: Hashable, Sendable {
    package let id: String?
    /// In lower case.
    package let login: String?

    package init(id: String?, login: String?) {
        (self.id, self.login) = (id, login)
    }

    package func matches(_ event: EventSubNotification) -> Bool {
        id.map { $0 == event.broadcasterID } ?? (login == event.broadcasterLogin)
    }
}
