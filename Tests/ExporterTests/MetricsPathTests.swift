import CommandLine
import Posix
import Testing

@testable import Exporter

@Suite("The path of the metrics")
struct MetricsPathTests {
    @Test(
        "metrics may be served on any path that clients send as it is",
        arguments: [
            ("/metrics", nil), ("/a/b-c_d.e~f", nil), ("/livezz", nil), ("/-/metrics", nil),
            ("metrics", "does not begin with /"), ("/m?x=1", "no query"), ("/m#x", "letters"),
            ("/a%20b", "no escapes"), ("/ü", "letters"), ("/a b", "letters"), ("/a\n", "letters"),
            ("//metrics", "empty segment"), ("/a//b", "empty segment"), ("/a/", "empty segment"),
            ("/a/../b", "dots"), ("/.", "dots"), ("/health", "is used by /health"),
            ("/readyz", "is used by /readyz"), ("/livez/metrics", "is used by /livez"),
            ("/shutdowns", "is used by /shutdowns"), ("/", "is used by /"),
            ("/-/ready", "is used by /-/ready"),
            ("/" + String(repeating: "x", count: 1024), "longer"),
        ] as [(String, String?)]
    )
    func telemetryPath(_ path: String, complaint: String?) throws {
        guard let complaint else {
            #expect(try MetricsPath(path).text == path)
            return
        }
        let error = #expect(throws: CommandLineError.self) { _ = try MetricsPath(path) }
        #expect(error?.description.contains(complaint) == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("\n") == false)
    }
}
