import Glibc
import Posix

/// What became of the catalogue's file at the start.
struct OpenedCatalogue: Sendable {
    let catalogue: Catalogue
    /// What was wrong; `nil` when nothing was.
    let trouble: CatalogueTrouble?
}

/// Why a start goes without the catalogue that it was told to use.
enum CatalogueTrouble: Equatable, CustomStringConvertible {
    /// It was damaged, and stands at `keptAt` now; a new one took its place.
    case replaced(CatalogueError, keptAt: String)
    /// It cannot be used; what happens is kept in memory, and lost with the process.
    case unusable(CatalogueError)
    /// It is used without a write-ahead log, which its file system does not allow: readers and writers wait for each other.
    case withoutLog(journalMode: String)

    /// `nil` for the mode that was asked for.
    init?(journalMode: String) {
        guard journalMode != "wal" else { return nil }
        self = .withoutLog(journalMode: journalMode)
    }

    var error: CatalogueError {
        switch self {
        case .replaced(let error, _), .unusable(let error): error
        case .withoutLog: .database(.other, message: description)
        }
    }

    var description: String {
        switch self {
        case .replaced(let error, let path): "\(error); moved to \(path)"
        case .unusable(let error): "\(error); kept in memory for this run"
        case .withoutLog(let mode):
            "journal mode \(mode), not wal: the file system, perhaps a network mount, does not share memory"
        }
    }
}

extension Catalogue {
    /// Opens the file at `path`, or what can stand in for it: a catalogue must never cost a recording.
    ///
    /// - Throws: only when not even memory can be had.
    static func openOrReplace(
        path: String,
        at now: UTCTime = UTCTime(.now()),
        observe: @escaping @Sendable (TransactionReport) -> Void = { _ in }
    ) throws(CatalogueError) -> OpenedCatalogue {
        let failure: CatalogueError
        do throws(CatalogueError) {
            let catalogue = try openReadable(path: path, observe: observe)
            let trouble = CatalogueTrouble(journalMode: catalogue.journalMode)
            return OpenedCatalogue(catalogue: catalogue, trouble: trouble)
        } catch {
            failure = error
        }
        if failure.reason == .corrupt, let keptAt = moveAway(path, at: now),
            let catalogue = try? Catalogue(path: path, observe: observe)
        {
            let trouble = CatalogueTrouble.replaced(failure, keptAt: keptAt)
            return OpenedCatalogue(catalogue: catalogue, trouble: trouble)
        }
        let catalogue = try Catalogue(path: inMemory, observe: observe)
        return OpenedCatalogue(catalogue: catalogue, trouble: .unusable(failure))
    }

    /// Opens the file; what SQLite takes for damage is so only when the disk can be read, and it is found again.
    ///
    /// SQLite turns an `EIO` of a read into "database disk image is malformed" (`SQLITE_IOERR_CORRUPTFS`).
    /// - Throws: `.io` for a disk that cannot be read.
    private static func openReadable(
        path: String,
        observe: @escaping @Sendable (TransactionReport) -> Void
    ) throws(CatalogueError) -> Catalogue {
        do throws(CatalogueError) {
            return try Catalogue(path: path, observe: observe)
        } catch {
            guard error.reason == .corrupt else { throw error }
        }
        do throws(SystemError) {
            for file in [path, "\(path)-wal"] { try readThrough(file) }
        } catch {
            throw .database(.io, message: error.description)
        }
        return try Catalogue(path: path, observe: observe)
    }

    /// Reads the file to its end, if it is there; only while no database is open, whose locks its closing would drop.
    private static func readThrough(_ path: String) throws(SystemError) {
        let chunk = 1 << 16
        do throws(SystemError) {
            let file = try FileDescriptor(opening: path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
            var offset = 0
            while try file.bytes(at: offset, count: chunk).count == chunk { offset += chunk }
        } catch {
            guard error.code == ENOENT else { throw error }
        }
    }

    /// Moves the database and its log away, for somebody to repair; `nil` when that fails.
    static func moveAway(_ path: String, at now: UTCTime) -> String? {
        let keptAt = "\(path).damaged-\(now.compact)"
        do throws(SystemError) {
            // The log first: a new database beside the old log would take it for its own.
            for suffix in ["-wal", "-shm", ""] {
                try move(path + suffix, to: keptAt + suffix)
            }
            return keptAt
        } catch {
            return nil
        }
    }

    private static func move(_ old: String, to new: String) throws(SystemError) {
        do throws(SystemError) {
            try FileSystem.rename(old, to: new)
        } catch {
            guard error.code == ENOENT else { throw error }
        }
    }
}
