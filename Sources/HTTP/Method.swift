/// The request methods of RFC 9110 §9.3 and RFC 5789; names are case-sensitive.
package enum Method: String, Sendable, CaseIterable {
    case get = "GET"
    case head = "HEAD"
    case post = "POST"
    case put = "PUT"
    case delete = "DELETE"
    case connect = "CONNECT"
    case options = "OPTIONS"
    case trace = "TRACE"
    case patch = "PATCH"
    /// A well-formed name that is none of these.
    case other = ""

    init(_ name: Span<UInt8>) {
        // The two that matter are found without a String.
        if name.equals("GET") {
            self = .get
        } else if name.equals("HEAD") {
            self = .head
        } else {
            self = Method(rawValue: String(decoding: name)) ?? .other
        }
    }
}
