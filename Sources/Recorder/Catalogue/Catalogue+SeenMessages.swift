import Posix

/// Messages that were delivered once, so that a second delivery of one is known: also after a restart.
extension Catalogue {
    /// How long an id is kept: well beyond the ten minutes in which EventSub's deliveries are valid.
    static let seenMessageAge = Duration.seconds(3600)
    /// Ids that are kept; above, the oldest go.
    static let mostSeenMessages = 10_000

    /// Enters the message, in one step with the question whether it was there.
    ///
    /// - Returns: whether it is new.
    func remember(messageID: String, at now: WallTime = .now()) throws(CatalogueError) -> Bool {
        try transaction { (database) throws(CatalogueError) in
            try database.insert(messageID, seenAt: UTCTime(now).seconds)
        }
    }
}

extension SQLiteDatabase {
    fileprivate mutating func insert(
        _ messageID: String,
        seenAt now: Int
    ) throws(CatalogueError) -> Bool {
        let oldest = now - Int(Catalogue.seenMessageAge.inSeconds)
        try run("DELETE FROM seen_messages WHERE seen_at < ?", [.integer(Int64(oldest))])
        try run(
            "INSERT INTO seen_messages (id, seen_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
            [.text(messageID), .integer(Int64(now))]
        )
        guard changedRows == 1 else { return false }
        try run(
            """
            DELETE FROM seen_messages WHERE id IN (
                SELECT id FROM seen_messages ORDER BY seen_at DESC, id LIMIT -1 OFFSET ?
            )
            """,
            [.integer(Int64(Catalogue.mostSeenMessages))]
        )
        return true
    }
}
