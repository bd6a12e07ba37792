import Glibc
import Posix

/// Writes the head of a response.
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
        _ date: DateField,
        _ persistence: Persistence,
        to bytes: inout [UInt8]
    ) {
        bytes.append(contentsOf: "HTTP/1.1 ".utf8)
        bytes.append(decimal: response.status.code)
        bytes.append(.space)
        bytes.append(contentsOf: response.status.phrase.utf8)
        bytes.append(contentsOf: "\r\n".utf8)
        bytes.append(contentsOf: date.line)
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

/// The Date field (RFC 9110 §6.6.1), written once a second.
struct DateField {
    /// Seconds since 1970.
    private var second: UInt64
    /// With its line end.
    private(set) var line: [UInt8]

    init(_ time: WallTime) {
        second = time.nanoseconds / 1_000_000_000
        line = Self.line(second)
    }

    mutating func update(to time: WallTime) {
        guard second != time.nanoseconds / 1_000_000_000 else { return }
        self = DateField(time)
    }

    /// `Date: Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
    private static func line(_ second: UInt64) -> [UInt8] {
        var moment = time_t(clamping: second)
        var fields = unsafe tm()  // Unsafe for its pointer to the zone's name, which is not read.
        _ = unsafe gmtime_r(&moment, &fields)
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        let day = unsafe days[Int(fields.tm_wday)]
        let month = unsafe months[Int(fields.tm_mon)]
        let date = unsafe "\(padded(fields.tm_mday)) \(month) \(fields.tm_year + 1900)"
        let clock = unsafe [fields.tm_hour, fields.tm_min, fields.tm_sec].map(padded)
        return Array("Date: \(day), \(date) \(clock.joined(separator: ":")) GMT\r\n".utf8)
    }

    private static func padded(_ number: CInt) -> String {
        number < 10 ? "0\(number)" : "\(number)"
    }
}

extension [UInt8] {
    /// Appends a number that is not negative, in digits.
    fileprivate mutating func append(decimal number: Int) {
        if number >= 10 { append(decimal: number / 10) }
        append(UInt8(0x30 + number % 10))
    }
}
