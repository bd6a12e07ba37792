extension IngestSession {
    /// The line that answers line `lineNumber`; `nil` where silence says that all is well.
    func reply(_ answer: Answer) -> [UInt8]? {
        let line = ("line", JSONText.integer(Int64(lineNumber)))
        switch answer {
        case .nothing: return nil
        case .done: return JSONText.object([line, ("ok", true)]).bytes()
        case .greeted(let isResumed):
            return JSONText.object([line, ("ok", true), ("resumed", .bool(isResumed))]).bytes()
        case .refused(let refusal):
            let members: [(String, JSONText)] = [
                line, ("reason", .text(refusal.reason.rawValue)), ("error", .text(refusal.text)),
            ]
            return JSONText.object(members).bytes()
        }
    }
}
