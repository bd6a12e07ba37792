import FuzzSupport
import HTTP
import Posix

@testable import Fetch
@testable import Recorder

/// The file of a secret, and behind a zero what a request shows: who has the token comes in, and nobody else.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzToken(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let parts = input(start, count).split(
        separator: 0,
        maxSplits: 1,
        omittingEmptySubsequences: false
    )
    let content = Array(parts[0])
    let expected = secret(in: content)
    let source = SecretSource(field: "f", path: nil, variable: "V")
    // A variable holds text alone.
    if let text = String(validating: content, as: UTF8.self) {
        let loaded = try? source.load(["V": text], Log())
        require(loaded?.bytes == expected, "the secret, and no other")
    }
    let token = BearerToken(content)
    require((token != nil) == (expected.map { $0.count <= BearerToken.maxBytes } ?? false), "one")
    guard let token, let expected else { return 0 }
    require(isTaken(Array("bearer  ".utf8) + expected, for: token) == true, "who has it comes in")
    guard parts.count == 2, let isTaken = isTaken(Array(parts[1]), for: token) else { return 0 }
    require(isTaken == shows(Array(parts[1]), expected), "nobody else does")
    return 0
}

/// The content without the blanks behind it; `nil` when that is not visible ASCII.
private func secret(in content: [UInt8]) -> [UInt8]? {
    let end = content.lastIndex { ![0x20, 0x09, 0x0D, 0x0A].contains($0) } ?? -1
    let bytes = content[...end]
    return bytes.isEmpty || bytes.contains { !(0x21...0x7E).contains($0) } ? nil : Array(bytes)
}

/// Whether a request with this field is answered; `nil` for one that is no request.
private func isTaken(_ field: [UInt8], for token: BearerToken) -> Bool? {
    let head = Array("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: ".utf8)
    let request = request(in: head + field + Array("\r\n\r\n".utf8))
    return request.map { token.refusal(of: $0) == nil }
}

/// Whether the field is the token behind its scheme; blanks around a field's value are not part of it.
private func shows(_ field: [UInt8], _ token: [UInt8]) -> Bool {
    let isBlank = { (byte: UInt8) in byte == 0x20 || byte == 0x09 }
    let value = Array(field.drop(while: isBlank).reversed().drop(while: isBlank).reversed())
    let scheme = String(decoding: value.prefix(7), as: UTF8.self).lowercased()
    return scheme == "bearer " && value.dropFirst(7).drop { $0 == 0x20 } == token[...]
}
