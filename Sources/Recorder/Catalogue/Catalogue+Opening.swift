import Glibc
import Posix

/// What became of the catalogue's file at the start.
struct OpenedCatalogue {
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

    var error: CatalogueError {
        switch self {
        case .replaced(let error, _), .unusable(let error): error
        }
    }

    var description: String {
        switch self {
        case .replaced(let error, let path): "\(error); set aside as \(path)"
        case .unusable(let error): "\(error); kept in memory for this run"
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
        let first: CatalogueError
        do throws(CatalogueError) {
            return OpenedCatalogue(
                catalogue: try Catalogue(path: path, observe: observe),
                trouble: nil
            )
        } catch {
            first = error
        }
        if first.reason == .corrupt, let keptAt = setAside(path, at: now),
            let catalogue = try? Catalogue(path: path, observe: observe)
        {
            return OpenedCatalogue(catalogue: catalogue, trouble: .replaced(first, keptAt: keptAt))
        }
        let catalogue = try Catalogue(path: inMemory, observe: observe)
        return OpenedCatalogue(catalogue: catalogue, trouble: .unusable(first))
    }

    /// Moves the database and its log away, for somebody to repair; `nil` when that fails.
    private static func setAside(_ path: String, at now: UTCTime) -> String? {
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
