/// A head that has been read and found valid.
struct RequestHead: Sendable {
    let line: RequestLine
    /// The field lines, as a range of the bytes.
    let fields: Range<Int>
    /// Bytes from the start of the buffer to the end of the empty line.
    let length: Int
    let framing: Framing
    let keepsAlive: Bool
    let expectsContinue: Bool
    /// Whether a browser sends it, as far as its fields tell.
    let isFromBrowser: Bool

    /// Reads what `scanner` has found the end of.
    init(
        _ bytes: Span<UInt8>,
        line lineRange: Range<Int>,
        end: Int,
        contentLimit: Int
    ) throws(Rejection) {
        line = try RequestLine(lineRange, in: bytes)
        fields = lineRange.upperBound + 2..<end - 2
        length = end
        var lines = FieldLines(fields)
        var facts = FieldFacts()
        while let field = try lines.next(in: bytes) {
            try facts.note(bytes.extracting(field.name), bytes.extracting(field.value))
        }
        let minor = line.minorVersion
        framing = try facts.framing(minorVersion: minor, limit: contentLimit)
        isFromBrowser = facts.isFromBrowser
        // What follows a CONNECT may be meant for a tunnel: it is neither content nor another request.
        if line.method == .connect, framing != .length(0) { throw .connectContent }
        keepsAlive = line.method != .connect && facts.keepsAlive(minorVersion: minor)
        expectsContinue = try facts.expectsContinue(minorVersion: minor)
    }
}
