package import HTTP

/// A request as the server passes it to a handler; `nil` if the server would refuse it.
package func request(
    _ method: String,
    _ target: String,
    _ fields: KeyValuePairs<String, String> = [:],
    body: [UInt8] = [],
    version: String = "1.1"
) -> Request? {
    let lines = fields.map { "\($0): \($1)\r\n" }.joined()
    let head =
        "\(method) \(target) HTTP/\(version)\r\nHost: cam.example:8000\r\n\(lines)"
        + "Content-Length: \(body.count)\r\n\r\n"
    var parser = RequestParser(contentLimit: 1 << 20)
    let bytes = Array(head.utf8) + body
    guard case .request(let request, _) = parser.parse(bytes.span, peer: "::1") else { return nil }
    return request
}

extension Response {
    package var text: String { String(decoding: body, as: UTF8.self) }

    package func field(_ name: String) -> String? { headers.first { $0.name == name }?.value }
}
