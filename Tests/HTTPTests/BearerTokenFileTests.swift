import Foundation
import Posix
import Testing

@testable import HTTP

@Suite("The bearer token's file")
final class BearerTokenFileTests {
    private let directory: String
    private let path: String
    private let log = Log()

    init() throws {
        directory =
            FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
        path = directory + "/token"
        try FileManager.default.createDirectory(
            atPath: directory,
            withIntermediateDirectories: true
        )
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    /// Writes the token with an old modification time: two writes within a clock tick cannot be told apart.
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
        let request = try #require(parsedRequest(get("/", "Authorization: Bearer \(token)\r\n")))
        let now = BootTime.now().advanced(by: .seconds(seconds))
        return file.refusal(of: request, now: now) == nil
    }

    @Test("is read again when it changes, and checked at most once a second")
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
                atPath: "\(directory)/\(name)",
                withIntermediateDirectories: true
            )
            try write(name, to: "\(directory)/\(name)/token")
        }
        func point(at name: String) throws {
            let temporary = "\(directory)/..data_tmp"
            try FileManager.default.createSymbolicLink(
                atPath: temporary,
                withDestinationPath: name
            )
            try FileSystem.rename(temporary, to: "\(directory)/..data")
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
        "that can no longer be read leaves the last token valid",
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
        let error = #expect(throws: BearerTokenError.self) {
            _ = try BearerTokenFile(path: path, log: log)
        }
        #expect(error?.description.contains(words) == true)
        #expect(error?.description.contains(path) == true)
    }
}
