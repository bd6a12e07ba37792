#include <sqlite3.h>

/// Lets sqlite3_close_v2 leave the write-ahead log: it would remove it by its name, which another database may have by then.
///
/// A function, since Swift does not import those with variable arguments.
static inline int streamvault_sqlite3_keep_log(sqlite3 *database) {
    return sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)0);
}
