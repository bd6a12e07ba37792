import Fetch
import Glibc
import Posix

/// Where a secret is to be found: in a file that the configuration names, or in a variable.
struct SecretSource {
    private static let longest = 4096

    /// Of the field, for the error.
    let field: String
    let path: String?
    let variable: String

    /// The content of the file, or else of the variable, without white space at its end; `nil` when there is neither.
    ///
    /// A file that every user of the machine can read is a warning in the log.
    func load(_ environment: [String: String], _ log: Log) throws(StartError) -> Secret? {
        guard let path else {
            return try environment[variable].flatMap { text throws(StartError) in
                text.isEmpty ? nil : try check(Array(text.utf8), from: variable)
            }
        }
        let content: [UInt8]
        do throws(SystemError) {
            content = try FileDescriptor.content(
                of: path,
                atMost: Self.longest,
                until: .now().advanced(by: Configuration.readTimeout)
            )
        } catch {
            let reason = error.code == EFBIG ? "longer than \(Self.longest) bytes" : error.reason
            throw StartError(description: "\(field): \(path): \(reason)")
        }
        if let status = try? FileSystem.status(of: path), status.isReadableByOthers {
            let fields: KeyValuePairs = ["field": field, "file": path]
            log(.warn, "File with a secret is readable by all users", fields)
        }
        return try check(content, from: "\(field): \(path)")
    }

    /// As `load`, for a secret that has to be there.
    func require(_ environment: [String: String], _ log: Log) throws(StartError) -> Secret {
        if let secret = try load(environment, log) { return secret }
        throw StartError(description: "\(field): is required (or \(variable))")
    }

    private func check(_ content: [UInt8], from origin: String) throws(StartError) -> Secret {
        let end = content.lastIndex { !" \t\r\n".utf8.contains($0) } ?? -1
        let bytes = content[...end]
        guard !bytes.isEmpty, bytes.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw StartError(description: "\(origin): must hold visible ASCII characters only")
        }
        return Secret(Array(bytes))
    }
}
