import FoundationEssentials
import JSON
import Posix

/// The mistakes found so far, each in one line that begins with the field's path.
final class ConfigurationProblems {
    private(set) var lines: [String] = []

    func add(_ path: String, _ problem: String) {
        lines.append("\(path): \(problem)".withoutControls)
    }
}

/// The fields of one object, taken one by one; what nobody took is unknown.
///
/// A field that is there and wrong is reported and given as `nil`, so that the reading goes on to the next mistake.
struct ConfigurationFields {
    let path: String
    let problems: ConfigurationProblems
    private var fields: [String: JSONValue]

    /// The fields of `value`, which stands at `path`, or `nil` and a mistake when it is no object.
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

    /// Reports the fields that were not taken.
    func finish() {
        for name in fields.keys.sorted() { report(name, "unknown field") }
    }

    func isMissing(_ name: String) -> Bool { fields[name] == nil }

    /// Gives up on the fields that are left, without calling them unknown.
    mutating func ignoreRest() { fields = [:] }

    mutating func take(_ name: String) -> JSONValue? {
        fields.removeValue(forKey: name)
    }

    /// Takes a field, and reports its absence.
    mutating func require(_ name: String) -> JSONValue? {
        let value = take(name)
        if value == nil { report(name, "is required") }
        return value
    }

    /// Takes a string of at least one character that has no control characters.
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

    /// Takes an absolute URL with a host.
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

    /// Takes origins as browsers send them: RFC 6454 §6.2.
    mutating func origins(_ field: String) -> [String] {
        let origins = texts(field) ?? []
        for origin in origins {
            let url = URL(string: origin, encodingInvalidCharacters: false)
            let name = url?.host()?.lowercased() ?? ""
            let host = name.contains(":") ? "[\(name)]" : name
            let port = url?.port.map { ":\($0)" } ?? ""
            if name.isEmpty || origin != "\(url?.scheme ?? "")://\(host)\(port)" {
                report(field, "\"\(origin)\" is no origin, such as https://example.org")
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

    /// Takes an object, lets `body` read its fields, and reports those that it left.
    mutating func object(_ name: String, _ body: (inout ConfigurationFields) -> Void) {
        guard let value = take(name),
            var inner = ConfigurationFields(value, at: path(to: name), problems: problems)
        else { return }
        body(&inner)
        inner.finish()
    }

    /// Takes an array: its items, each with its path.
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

    /// Takes one string, or an array of at least one.
    mutating func texts(_ name: String) -> [String]? {
        if case .string = fields[name] { return text(name).map { [$0] } }
        guard let items = items(name) else { return nil }
        if items.isEmpty { report(name, "must not be empty") }
        return items.compactMap { text($0.value, at: $0.path) }
    }
}

extension String {
    /// With control characters as escapes: a message must stay one line, and must not command a terminal.
    var withoutControls: String {
        unicodeScalars.map { scalar in
            guard scalar.properties.generalCategory == .control else { return String(scalar) }
            return "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
        }
        .joined()
    }
}
