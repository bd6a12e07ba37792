import HTTP

/// Says of each line of hexadecimal digits on standard input what request it begins with: for agree_with_h11.py.
///
/// With the argument `connection` each line is a number and digits, for agree_with_llhttp.py: all that arrives on a
/// connection, so many bytes at a time, or all at once for 0. The answer is every request on it, until it would be closed.
@main enum Main {
    static func main() {
        let isConnection = CommandLine.arguments.dropFirst().first == "connection"
        while let line = readLine() {
            guard isConnection else {
                print(answer(bytes(line)))
                continue
            }
            let words = line.split(separator: " ").map(String.init)
            let received = bytes(words.count > 1 ? words[1] : "")
            print(requests(in: received, piece: Int(words[0]) ?? 0).joined(separator: ";"))
        }
    }

    private static func requests(in bytes: [UInt8], piece: Int) -> [String] {
        var parser = RequestParser(contentLimit: 1 << 16)
        var events: [String] = []
        var (start, end) = (0, piece == 0 ? bytes.count : 0)
        while true {
            switch parser.parse(bytes.span.extracting(start..<end)) {
            case .reject(let rejection):
                return events + ["rejected \(rejection.status.code) \(rejection.reason)"]
            case .needMore:
                guard end < bytes.count else {
                    return events + [start == end ? "end" : "incomplete"]
                }
                end = min(bytes.count, end + piece)
            case .request(let request, let consumed):
                start += consumed
                let parts = [Array(request.target.utf8), request.body].map(hexadecimal)
                let text = parts.map { $0.isEmpty ? "-" : $0 }.joined(separator: " ")
                events.append("request \(request.method.rawValue)- \(text)")
                if !request.keepsAlive { return events + ["close"] }
            }
        }
    }

    private static func answer(_ bytes: [UInt8]) -> String {
        var parser = RequestParser(contentLimit: 1 << 16)
        switch parser.parse(bytes.span) {
        case .needMore: return "incomplete"
        case .reject(let rejection): return "rejected \(rejection.status.code) \(rejection.reason)"
        case .request(let request, let consumed):
            let hosts = request.headers("host").map { hexadecimal(Array($0.utf8)) }
            let answers = [
                hexadecimal(Array(request.target.utf8)), hosts.joined(separator: ","),
                hexadecimal(request.body), "\(consumed)", "\(request.keepsAlive)",
            ]
            return "request " + answers.map { $0.isEmpty ? "-" : $0 }.joined(separator: " ")
        }
    }

    private static func bytes(_ digits: String) -> [UInt8] {
        let digits = Array(digits.utf8)
        return stride(from: 0, to: digits.count - 1, by: 2).map { index in
            UInt8(String(decoding: digits[index...(index + 1)], as: UTF8.self), radix: 16) ?? 0
        }
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
