import FuzzSupport
import Posix

@testable import Ingest
@testable import StreamVaultTelemetry

/// Reads lines of the ingest socket from any bytes: twice, at once and in pieces, with the same answers.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzIngest(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = input(start, count)
    precondition(
        answers(to: pieces(of: bytes)) == answers(to: [bytes]),
        "the answers depend on the pieces"
    )
    return 0
}

private func answers(to pieces: [[UInt8]]) -> [[UInt8]?] {
    var session = IngestSession { (hello) throws(IngestError) in try run(hello) }
    var buffer = LineBuffer()
    var answers: [[UInt8]?] = []
    func read(_ line: LineBuffer.Line) {
        answers.append(
            IngestSession.reply(
                session.process(line, of: buffer.bytes),
                toLine: session.lineNumber
            )
        )
    }
    for piece in pieces {
        buffer.append(piece[...])
        while let line = buffer.next() { read(line) }
        buffer.compact()
    }
    if let line = buffer.last() { read(line) }
    return answers
}

/// A run in private memory, small enough to be made for every input, and full soon.
private func run(_ hello: IngestHello) throws(IngestError) -> IngestRun {
    var capacity = SegmentCapacity()
    (capacity.series, capacity.words, capacity.recordings) = (128, 1024, 2)
    do throws(PublisherError) {
        let publisher = try Publisher(
            RunIdentity(starting: hello.name, hello.version, heartbeatInterval: .seconds(1)),
            directory: "/nowhere",
            phases: hello.phases,
            capacity: capacity
        )
        return IngestRun(publisher, name: hello.name, isResumed: false)
    } catch {
        throw IngestError(.message, "\(error)")
    }
}
