import Foundation
import HTTP
import Posix
import Testing

@testable import Exporter

@Suite("The bearer token's file")
struct BearerTokenFileTests {
    private let files: TelemetryDirectory
    private let path: String
    private let log = Log()

    init() throws {
        files = try TelemetryDirectory()
        path = files.path + "/token"
    }

    /// Writes the token and lets the file's stamp be an old one, as it is when an operator looks at it next.
    private func write(_ text: String, to path: String? = nil, age: Double = 60) throws {
        let path = path ?? self.path
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        let date = Date(timeIntervalSinceNow: -age)
        try FileManager.default.setAttributes([.modificationDate: date], ofItemAtPath: path)
    }

    private func isAdmitted(
        _ token: String,
        by file: inout BearerTokenFile,
        after seconds: Int
    ) throws -> Bool {
        let request = try Served.request("/metrics", ["Authorization: Bearer \(token)"])
        let now = BootTime.now().advanced(by: .seconds(seconds))
        return file.refusal(of: request, now: now) == nil
    }

    @Test(
        "guards all but the probes",
        arguments: ExporterService.routes(metricsPath: .standard).map(\.path)
    )
    func guarded(_ path: String) throws {
        try write("secret\n")
        let probes = [
            "/health", "/livez", "/readyz", "/startupz", "/-/healthy", "/-/ready",
            "/-/terminating",
        ]
        var served = try Served(files.path, ["--web.bearer-token-file", self.path])
        let refused = try served.ask(path)
        #expect((refused.status == .unauthorized) == !probes.contains(path))
        if refused.status == .unauthorized {
            #expect(refused.header("WWW-Authenticate") == "Bearer")
            #expect(try served.ask(path, method: "POST").status == .unauthorized)
        }
        let allowed = try served.ask(path, ["Authorization: Bearer secret"])
        #expect(allowed.status != .unauthorized)
    }

    @Test("is read again when it has changed, and looked at once a second at most")
    func change() throws {
        try write("first")
        var file = try BearerTokenFile(path: path, log: log)
        #expect(try isAdmitted("first", by: &file, after: 1))
        try write("other", age: 30)
        #expect(try isAdmitted("first", by: &file, after: 1), "within the second")
        #expect(try isAdmitted("other", by: &file, after: 2))
        #expect(try !isAdmitted("first", by: &file, after: 3))
    }

    @Test("is read again when a symbolic link moves, as secrets of Kubernetes do")
    func links() throws {
        for name in ["one", "two"] {
            try FileManager.default.createDirectory(
                atPath: "\(files.path)/\(name)",
                withIntermediateDirectories: true
            )
            try write(name, to: "\(files.path)/\(name)/token")
        }
        func point(at name: String) throws {
            let temporary = "\(files.path)/..data_tmp"
            try FileManager.default.createSymbolicLink(
                atPath: temporary,
                withDestinationPath: name
            )
            try FileSystem.rename(temporary, to: "\(files.path)/..data")
        }
        try point(at: "one")
        let link = "..data/token"
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: link)
        var file = try BearerTokenFile(path: path, log: log)
        #expect(try isAdmitted("one", by: &file, after: 0))
        try point(at: "two")
        #expect(try isAdmitted("two", by: &file, after: 1))
    }

    @Test(
        "that cannot be read any more leaves the last token",
        arguments: ["", "\n", "two words", String(repeating: "x", count: 5000), nil]
    )
    func lost(_ content: String?) throws {
        try write("first")
        var file = try BearerTokenFile(path: path, log: log)
        if let content {
            try write(content)
        } else {
            try FileSystem.unlink(path)
        }
        #expect(try isAdmitted("first", by: &file, after: 1))
        try write("back")
        #expect(try isAdmitted("back", by: &file, after: 2))
        #expect(try !isAdmitted("first", by: &file, after: 2))
    }

    @Test(
        "without a token is an error at the start",
        arguments: [
            ("", "visible ASCII"), ("a b", "visible ASCII"), (nil, "No such file"),
        ] as [(String?, String)]
    )
    func start(_ content: String?, _ words: String) throws {
        if let content { try write(content) }
        let error = #expect(throws: StartError.self) {
            _ = try BearerTokenFile(path: path, log: log)
        }
        #expect(error?.description.contains(words) == true)
        #expect(error?.description.contains(path) == true)
    }
}
