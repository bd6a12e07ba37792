import CommandLine
import Posix

/// The path on which the metrics are served: one that every client sends as it is written.
struct TelemetryPath {
    let text: String

    static let standard = TelemetryPath(unchecked: "/metrics")

    /// - Throws: also for a path on which something else is served.
    init(_ text: String) throws(CommandLineError) {
        if let complaint = Self.complaint(about: text) {
            throw CommandLineError("--web.telemetry-path: \(text.debugDescription) \(complaint)")
        }
        self.init(unchecked: text)
    }

    private init(unchecked text: String) {
        self.text = text
    }

    private static func complaint(about text: String) -> String? {
        guard text.hasPrefix("/") else { return "does not begin with /" }
        let segments = text.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        guard text.utf8.allSatisfy(isAllowed) else {
            return "may only have letters, digits, / and -._~: no query, no escapes"
        }
        guard text == "/" || !segments.contains(""), !segments.contains("."),
            !segments.contains("..")
        else { return "has an empty segment, or one of dots: clients change such a path" }
        guard text.utf8.count <= 1024 else { return "is longer than 1024 characters" }
        let owner = ExporterService.fixedRoutes.first { $0.serves(text) }
        return owner.map { "is taken: it is one of \($0.path)" }
    }

    /// What RFC 3986 §2.3 leaves unreserved, and the slash.
    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "/-._~".utf8.contains(byte)
        }
    }
}
