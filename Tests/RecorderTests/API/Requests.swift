import HTTP

/// A request as the server would give it to a handler; `nil` when it would refuse it.
func request(
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
    var text: String { String(decoding: body, as: UTF8.self) }

    func field(_ name: String) -> String? { headers.first { $0.name == name }?.value }
}
