/// The steps that bring a catalogue's file to this recorder's schema; `PRAGMA user_version` counts those taken.
///
/// A step that has been released is never changed: a change is a new step.
enum CatalogueSchema {
    static let steps: [[String]] = [
        [
            """
            CREATE TABLE recordings (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                stream TEXT NOT NULL,
                title TEXT,
                path TEXT NOT NULL,
                container TEXT NOT NULL,
                status TEXT NOT NULL CHECK (
                    status IN ('recording', 'completed', 'interrupted', 'failed', 'abandoned')
                ),
                started_at TEXT NOT NULL,
                ended_at TEXT,
                bytes INTEGER NOT NULL DEFAULT 0,
                failure_reason TEXT
            ) STRICT
            """,
            // Those that are running, and those whose part file may still be recovered: always few.
            "CREATE INDEX recordings_unfinished ON recordings (status) WHERE status <> 'completed'",
        ],
        [
            """
            CREATE TABLE seen_messages (
                id TEXT PRIMARY KEY,
                seen_at INTEGER NOT NULL -- seconds since 1970
            ) STRICT, WITHOUT ROWID
            """,
            "CREATE INDEX seen_messages_by_time ON seen_messages (seen_at)",
        ],
    ]

    /// Takes the missing steps, each in a transaction of its own.
    static func migrate(_ connection: CatalogueConnection) throws(CatalogueError) {
        while try connection.transaction(takeNextStep) {}
    }

    /// Takes one step, or none when the schema is complete: the version is read under the write lock, so that of two
    /// recorders at the same file only one takes it.
    private static func takeNextStep(
        _ database: inout SQLiteDatabase
    ) throws(CatalogueError) -> Bool {
        let version = try database.run("PRAGMA user_version").first?.first?.asInteger ?? 0
        guard version <= steps.count else { throw .newerSchema(version: version) }
        guard version < steps.count else { return false }
        for statement in steps[Int(version)] { try database.run(statement) }
        try database.run("PRAGMA user_version = \(version + 1)")
        return true
    }
}
