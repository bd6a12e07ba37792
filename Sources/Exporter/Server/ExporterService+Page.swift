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
            notice: notice
        ).response(isUpdate: request.query("update") != nil)
    }

    /// What the exporter waits for before it leaves.
    private var notice: String? {
        switch leaving.awaited {
        case .nothing: nil
        case .recorders:
            "This exporter has been told to leave, and stays until its recorder has ended."
        case .scrapers:
            "This exporter has been told to leave, and stays until the last word has been scraped."
        }
    }
}
