/// Writes the head of a response.
///
/// Without a Date field: RFC 9110 §6.6.1 asks a server with a clock for one, but our clients have clocks of their own.
enum ResponseHead {
    /// What a response says about the connection after it.
    enum Persistence {
        case close
        /// Said only to a client that speaks HTTP/1.0, for others it is the rule.
        case keepAlive
        case unsaid
    }

    static func append(
        _ response: Response,
        _ persistence: Persistence,
        to bytes: inout [UInt8]
    ) {
        bytes.append(contentsOf: "HTTP/1.1 ".utf8)
        bytes.append(decimal: response.status.code)
        bytes.append(.space)
        bytes.append(contentsOf: response.status.phrase.utf8)
        bytes.append(contentsOf: "\r\n".utf8)
        if let type = response.contentType { append("Content-Type", type, to: &bytes) }
        if !response.status.forbidsContent {
            bytes.append(contentsOf: "Content-Length: ".utf8)
            bytes.append(decimal: response.body.count)
            bytes.append(contentsOf: "\r\n".utf8)
        }
        switch persistence {
        case .close: bytes.append(contentsOf: "Connection: close\r\n".utf8)
        case .keepAlive: bytes.append(contentsOf: "Connection: keep-alive\r\n".utf8)
        case .unsaid: break
        }
        for (name, value) in response.headers { append(name, value, to: &bytes) }
        bytes.append(contentsOf: "\r\n".utf8)
    }

    private static func append(_ name: String, _ value: String, to bytes: inout [UInt8]) {
        bytes.append(contentsOf: name.utf8)
        bytes.append(contentsOf: ": ".utf8)
        let start = bytes.count
        bytes.append(contentsOf: value.utf8)
        for index in start..<bytes.count where bytes[index].isControl { bytes[index] = .space }
        bytes.append(contentsOf: "\r\n".utf8)
    }
}

extension [UInt8] {
    /// Appends a number that is not negative, in digits.
    fileprivate mutating func append(decimal number: Int) {
        if number >= 10 { append(decimal: number / 10) }
        append(UInt8(0x30 + number % 10))
    }
}
