import Catalogue
import Posix
import Synchronization

/// Opens the catalogue on a thread of its own, which can be left behind: somebody else's lock, and a disk that hangs, must
/// not hold up the end of a recorder.
final class CatalogueOpening: Sendable {
    private let outcome = Mutex<Result<OpenedCatalogue, CatalogueError>?>(nil)

    /// `nil` until the catalogue is open, or cannot be.
    var result: Result<OpenedCatalogue, CatalogueError>? { outcome.withLock { $0 } }

    /// Starts at once; wakes the main thread when it is done.
    init(
        path: String,
        _ wakeup: Wakeup,
        observe: @escaping @Sendable (TransactionReport) -> Void
    ) throws(SystemError) {
        try DetachedThread.start(named: "catalogue") { [self] in
            let result = Result { () throws(CatalogueError) in
                try Catalogue.openOrReplace(path: path, observe: observe)
            }
            outcome.withLock { $0 = result }
            wakeup.wake()
        }
    }
}
