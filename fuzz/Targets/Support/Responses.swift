import Posix

@testable package import HTTP

extension Response {
    /// The head as it is sent, in lines; ends the process where a field has become two.
    package var headLines: [String] {
        var bytes: [UInt8] = []
        appendHead(to: &bytes, DateField(.now()), .omitted)
        let lines = String(decoding: bytes, as: UTF8.self).split(
            separator: "\r\n",
            omittingEmptySubsequences: false
        )
        // The status, the date, both fields of the content, and the empty end with nothing behind it.
        let known = 4 + (contentType == nil ? 0 : 1) + (status.forbidsContent ? 0 : 1)
        require(lines.count == known + headers.count, "a line for each field: \(lines)")
        return lines.map(String.init)
    }
}
