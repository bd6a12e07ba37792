import JSON

extension IngestSession {
    /// The line that answers line `lineNumber`; `nil` if the line gets no reply because it was applied.
    func reply(_ answer: Answer) -> [UInt8]? {
        var reply: JSONValue = ["line": .integer(lineNumber)]
        switch answer {
        case .nothing: return nil
        case .done: reply["ok"] = true
        case .greeted(let isResumed):
            reply["ok"] = true
            reply["resumed"] = .boolean(isResumed)
        case .refused(let refusal):
            reply["reason"] = .string(refusal.reason.rawValue)
            reply["error"] = .string(refusal.text)
        }
        return JSONWriter.write(reply, .line)
    }
}
