import HTTP

/// Says of each line of hexadecimal digits on standard input what request it begins with: for agree_with_h11.py.
@main enum Main {
    static func main() {
        while let line = readLine() { print(answer(bytes(line))) }
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
