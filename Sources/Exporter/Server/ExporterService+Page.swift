import HTTP
import Posix

extension ExporterService {
    /// The page for people.
    mutating func page(_ request: Request) -> Response {
        let recorders = look()
        return StatusPage(
            recorders: recorders,
            report: healthReport(of: recorders),
            facts: pageFacts,
            hidden: visible.hidden,
            notices: [notice, excessNotice].compactMap(\.self)
        ).response(isUpdate: request.query("update") != nil)
    }

    /// What is in the directory beyond the exporter's bounds.
    private var excessNotice: String? {
        guard directory.excess > 0 else { return nil }
        let max = directory.bounds.recorders
        return "The directory has more telemetry segments than the \(max) that are read: at least"
            + " \(directory.excess) others are not shown."
    }

    /// What the exporter waits for before it leaves.
    private var notice: String? {
        switch leaving.awaited {
        case .nothing: nil
        case .recorders:
            "This exporter is shutting down, and waits until its recorder has ended."
        case .scrapers:
            "This exporter is shutting down, and waits until the final state has been scraped."
        }
    }
}
