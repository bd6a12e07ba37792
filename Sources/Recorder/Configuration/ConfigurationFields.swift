import Fetch
import FoundationEssentials
import Glibc
import JSON
import Posix

/// The errors found so far, each in one line that begins with the field's path.
final class ConfigurationProblems {
    private(set) var lines: [String] = []

    func add(_ path: String, _ problem: String) {
        lines.append("\(path): \(problem)".withoutControls)
    }
}

/// The fields of one object, each removed when it is read; the fields that remain are unknown.
///
/// An invalid field is reported and returned as `nil`, so that one run finds all errors.
struct ConfigurationFields {
    let path: String
    let problems: ConfigurationProblems
    private var fields: [String: JSONValue]

    /// The fields of `value` at `path`; `nil`, and an error, if it is not an object.
    init?(_ value: JSONValue, at path: String, problems: ConfigurationProblems) {
        guard case .object(let members) = value else {
            problems.add(path.isEmpty ? "the file" : path, "must be an object, not \(value.kind)")
            return nil
        }
        (self.path, self.problems) = (path, problems)
        fields = Dictionary(members.map { ($0.name, $0.value) }) { first, _ in first }
    }

    func path(to name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }

    func report(_ name: String, _ problem: String) {
        problems.add(path(to: name), problem)
    }

    /// Reports the fields that were not read.
    func finish() {
        for name in fields.keys.sorted() { report(name, "unknown field") }
    }

    func isMissing(_ name: String) -> Bool { fields[name] == nil }

    /// Drops the remaining fields without reporting them as unknown.
    mutating func ignoreRest() { fields = [:] }

    mutating func take(_ name: String) -> JSONValue? {
        fields.removeValue(forKey: name)
    }

    /// Reads a field, and reports if it is missing.
    mutating func require(_ name: String) -> JSONValue? {
        let value = take(name)
        if value == nil { report(name, "is required") }
        return value
    }

    /// Reads a string of at least one character without control characters.
    mutating func text(_ name: String, isRequired: Bool = false) -> String? {
        (isRequired ? require(name) : take(name)).flatMap { text($0, at: path(to: name)) }
    }

    func text(_ value: JSONValue, at path: String) -> String? {
        guard case .string(let text) = value else {
            problems.add(path, "must be a string, not \(value.kind)")
            return nil
        }
        guard !text.isEmpty else {
            problems.add(path, "must not be empty")
            return nil
        }
        guard text.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control }) else {
            problems.add(path, "must not hold control characters")
            return nil
        }
        return text
    }

    /// Reads an absolute URL with a host.
    mutating func url(
        _ name: String,
        _ schemes: [String] = ["http", "https"],
        isRequired: Bool = false
    ) -> URL? {
        guard let text = text(name, isRequired: isRequired) else { return nil }
        let url = URL(string: text, encodingInvalidCharacters: false)
        guard let url, let scheme = url.scheme?.lowercased(), schemes.contains(scheme),
            let host = url.host(), !host.isEmpty
        else {
            report(name, "must be an \(schemes.joined(separator: " or ")) URL")
            return nil
        }
        if let port = url.port, !(1...65_535).contains(port) {
            report(name, "the port must be from 1 to 65535, not \(port)")
            return nil
        }
        return url
    }

    /// Reads origins as browsers send them: RFC 6454 §6.2.
    mutating func origins(_ field: String) -> [String] {
        let origins = texts(field) ?? []
        for origin in origins {
            let url = URL(string: origin, encodingInvalidCharacters: false)
            let name = url?.host()?.lowercased() ?? ""
            let host = name.contains(":") ? "[\(name)]" : name
            let port = url?.port.map { ":\($0)" } ?? ""
            if name.isEmpty || origin != "\(url?.scheme ?? "")://\(host)\(port)" {
                report(field, "\"\(origin)\" is not an origin such as https://example.org")
            }
        }
        return origins
    }

    /// A program's argument: any string that C can hold.
    func argument(_ value: JSONValue, at path: String) -> String? {
        guard case .string(let text) = value else {
            problems.add(path, "must be a string, not \(value.kind)")
            return nil
        }
        guard !text.utf8.contains(0) else {
            problems.add(path, "must not hold a zero byte")
            return nil
        }
        return text
    }

    mutating func duration(_ name: String, in bounds: ClosedRange<Duration>) -> Duration? {
        guard let text = text(name) else { return nil }
        if let error = durationError(for: text, bounds: bounds) {
            report(name, error)
            return nil
        }
        return Duration(text: text)
    }

    /// Reads an object: `body` reads its fields, and the remaining ones are reported.
    mutating func object(_ name: String, _ body: (inout ConfigurationFields) -> Void) {
        guard let value = take(name),
            var inner = ConfigurationFields(value, at: path(to: name), problems: problems)
        else { return }
        body(&inner)
        inner.finish()
    }

    /// Reads an array: its items, each with its path.
    mutating func items(
        _ name: String,
        isRequired: Bool = false
    ) -> [(path: String, value: JSONValue)]? {
        guard let value = isRequired ? require(name) : take(name) else { return nil }
        guard case .array(let items) = value else {
            report(name, "must be an array, not \(value.kind)")
            return nil
        }
        return items.enumerated().map { ("\(path(to: name))[\($0)]", $1) }
    }

    /// Reads one string, or an array of at least one.
    mutating func texts(_ name: String) -> [String]? {
        if case .string = fields[name] { return text(name).map { [$0] } }
        guard let items = items(name) else { return nil }
        if items.isEmpty { report(name, "must not be empty") }
        return items.compactMap { text($0.value, at: $0.path) }
    }

    /// Reads a size such as `500MiB`.
    mutating func byteCount(_ name: String) -> UInt64? {
        guard let text = text(name) else { return nil }
        if let bytes = ByteCountText.parse(text) { return bytes }
        report(name, ByteCountText.rule)
        return nil
    }

    /// Reads a size of memory for segments.
    mutating func segmentMemory(_ name: String) -> Int? {
        guard let bytes = byteCount(name) else { return nil }
        guard bytes >= 16 << 20 else {
            report(name, "must be at least 16MiB")
            return nil
        }
        return Int(clamping: bytes)
    }

    /// Reads an integer of at least 1.
    mutating func count(_ name: String) -> Int? {
        guard let value = take(name) else { return nil }
        guard case .number(let number) = value, let count = number.integer,
            (1...1_000_000_000).contains(count)
        else {
            report(name, "must be a whole number from 1 to 1000000000")
            return nil
        }
        return Int(count)
    }

    mutating func boolean(_ name: String) -> Bool? {
        guard let value = take(name) else { return nil }
        guard case .boolean(let isTrue) = value else {
            report(name, "must be true or false, not \(value.kind)")
            return nil
        }
        return isTrue
    }
}

extension String {
    /// With escapes for control characters: a message stays one line, and a terminal does not interpret it.
    fileprivate var withoutControls: String {
        unicodeScalars.map { scalar in
            guard scalar.properties.generalCategory == .control else { return String(scalar) }
            return "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
        }
        .joined()
    }
}

/// Sizes in text: `500MiB`, `1.5GB`, `0B`.
enum ByteCountText {
    static let rule = "must be a number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB"

    private static let units: [(name: String, bytes: Double)] = [
        ("KiB", 0x1p10), ("MiB", 0x1p20), ("GiB", 0x1p30), ("TiB", 0x1p40),
        ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12), ("B", 1),
    ]

    /// The size in bytes; `nil` for other text, and for more than 1 PiB.
    static func parse(_ text: String) -> UInt64? {
        guard let unit = units.first(where: { text.hasSuffix($0.name) }) else { return nil }
        let number = text.dropLast(unit.name.count)
        let isPlain = number.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2E }
        guard isPlain, number.first != ".", number.last != ".", let value = Double(number),
            value * unit.bytes <= 0x1p50
        else { return nil }
        return UInt64(value * unit.bytes)
    }
}

/// Where a secret is stored: in a file that the configuration names, or in a variable.
struct SecretSource {
    private static let maxBytes = 4096

    /// The name of the configuration's field, for the error.
    let field: String
    let path: String?
    let variable: String

    /// The content of the file, or else of the variable, without white space at its end; `nil` if there is neither.
    ///
    /// Logs a warning if every user of the machine can read the file.
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
                atMost: Self.maxBytes,
                until: .now().advanced(by: Configuration.readTimeout)
            )
        } catch {
            let reason = error.code == EFBIG ? "longer than \(Self.maxBytes) bytes" : error.reason
            throw StartError(description: "\(field): \(path): \(reason)")
        }
        if let status = try? FileSystem.status(of: path), status.isReadableByOthers {
            let fields: KeyValuePairs = ["field": field, "file": path]
            log(.warn, "File with a secret is readable by all users", fields)
        }
        return try check(content, from: "\(field): \(path)")
    }

    /// The secret, which must exist.
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
