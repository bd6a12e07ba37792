/// The steps that bring a catalogue's file to this recorder's schema; `PRAGMA user_version` counts those applied.
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
        // A recording has parts, each of which is a file.
        [
            """
            CREATE TABLE parts (
                recording_id INTEGER NOT NULL REFERENCES recordings (id),
                number INTEGER NOT NULL,
                path TEXT NOT NULL,
                container TEXT NOT NULL,
                status TEXT NOT NULL CHECK (
                    status IN ('recording', 'finished', 'failed', 'deleted')
                ),
                started_at TEXT NOT NULL,
                ended_at TEXT,
                bytes INTEGER NOT NULL DEFAULT 0,
                failure_reason TEXT,
                PRIMARY KEY (recording_id, number)
            ) STRICT, WITHOUT ROWID
            """,
            """
            INSERT INTO parts
            SELECT id, 1, path, container,
                CASE status WHEN 'recording' THEN status
                    WHEN 'completed' THEN 'finished' WHEN 'interrupted' THEN 'finished'
                    ELSE 'failed' END,
                started_at, ended_at, bytes, failure_reason
            FROM recordings
            """,
            "ALTER TABLE recordings DROP COLUMN path",
            "ALTER TABLE recordings DROP COLUMN container",
            "ALTER TABLE recordings DROP COLUMN bytes",
            "DROP INDEX recordings_unfinished",
            // Those that a start reads: always few, however many recordings there are.
            """
            CREATE INDEX recordings_open ON recordings (status)
            WHERE status IN ('recording', 'abandoned')
            """,
            "CREATE INDEX recordings_by_end ON recordings (ended_at)",
            "CREATE INDEX recordings_by_stream ON recordings (stream, id)",
            """
            CREATE INDEX parts_unfinished ON parts (status)
            WHERE status IN ('recording', 'failed')
            """,
        ],
        // Conversion and deletion of parts.
        [
            "ALTER TABLE parts ADD COLUMN product_path TEXT",
            "ALTER TABLE parts ADD COLUMN product_bytes INTEGER",
            "ALTER TABLE parts ADD COLUMN deleted_at TEXT",
            "ALTER TABLE parts ADD COLUMN deleted_because TEXT",
            """
            CREATE TABLE jobs (
                recording_id INTEGER NOT NULL,
                number INTEGER NOT NULL,
                status TEXT NOT NULL CHECK (
                    status IN ('pending', 'running', 'deleting', 'done', 'failed')
                ),
                attempts INTEGER NOT NULL DEFAULT 0,
                due_at INTEGER NOT NULL DEFAULT 0, -- seconds since 1970
                problem TEXT,
                PRIMARY KEY (recording_id, number),
                FOREIGN KEY (recording_id, number) REFERENCES parts (recording_id, number)
            ) STRICT, WITHOUT ROWID
            """,
            """
            CREATE INDEX jobs_waiting ON jobs (due_at) WHERE status IN ('pending', 'deleting')
            """,
        ],
        // When a recording ended, in nanoseconds of CLOCK_BOOTTIME, which cannot be set.
        [
            "ALTER TABLE recordings ADD COLUMN ended_boot TEXT",
            "ALTER TABLE recordings ADD COLUMN ended_boottime INTEGER",
        ],
    ]

    /// How many steps have been applied to the database.
    ///
    /// - Throws: `.newerSchema` when there are more than this recorder knows, `.corrupt` for a number that no recorder writes.
    @discardableResult
    static func version(of database: inout SQLiteDatabase) throws(CatalogueError) -> Int64 {
        let version = try database.run("PRAGMA user_version").first?.first?.asInteger ?? 0
        guard version <= steps.count else { throw .newerSchema(version: version) }
        guard version >= 0 else {
            throw .database(.corrupt, message: "the schema version is \(version)")
        }
        return version
    }

    /// Applies the missing steps, each in its own transaction.
    static func migrate(_ connection: CatalogueConnection) throws(CatalogueError) {
        while try connection.transaction(applyNextStep) {}
    }

    /// Applies one step, and returns whether there was one.
    ///
    /// The version is read under the write lock: of two recorders with the same file, only one applies it.
    private static func applyNextStep(
        _ database: inout SQLiteDatabase
    ) throws(CatalogueError) -> Bool {
        let version = try version(of: &database)
        guard version < steps.count else { return false }
        for statement in steps[Int(version)] { try database.run(statement) }
        try database.run("PRAGMA user_version = \(version + 1)")
        return true
    }
}
