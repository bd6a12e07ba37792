import Media
import Posix

/// Where a recording's media comes from; runs on the recording's own thread, and blocks it.
protocol MediaSource: Sendable {
    /// Delivers media to `sink`, in order, until the source ends or `stop` is requested.
    ///
    /// Returns soon after `stop` is requested, having delivered what it already held whole.
    /// - Throws: what the sink threw, or why the source could not go on.
    func run(into sink: any MediaSink, until stop: StopSignal) throws(SourceError) -> SourceEnd
}

/// Takes what a source delivers; lives on the recording's thread.
protocol MediaSink: AnyObject {
    /// Appends media that is whole in itself: a segment, or what a program wrote.
    func append(_ media: Span<UInt8>) throws(SystemError)

    /// Says that what follows cannot be played on from what came before, and belongs to a file of its own.
    ///
    /// Before the first media it only says what the media will be: the sink begins a file with the first byte of it.
    func beginPart(_ container: MediaContainer) throws(SystemError)

    /// Whether the recording has lasted long enough: `split` it at the next place from which media plays by itself.
    var isSplitDue: Bool { get }

    /// Ends the recording, and begins the next with what follows.
    ///
    /// - Returns: whether what follows stands at the start of a file; `false` when the recording goes on.
    func split(_ container: MediaContainer) -> Bool

    /// Notes something that happened on the way and is counted, not thrown.
    func note(_ event: SourceEvent)
}

/// Something that a source met and went on after.
enum SourceEvent: Equatable, Sendable {
    /// A media segment was appended.
    case segmentWritten
    /// Media segments that the playlist announced and that could not be had.
    case segmentsMissed(Int)
    /// The media sequence began anew, at a lower number or at one that no gap explains.
    case sequenceReset
    /// A variant of the stream was chosen; the text is for people.
    case variantChosen(String)
    /// A playlist could not be loaded or understood, and is tried again.
    case playlistFailed(PlaylistFailure)
    /// A break began no part of its own: parts came too fast.
    case partJoined
    /// Segments waited for room in the memory of all streams, so often.
    case segmentsWaited(Int)
    /// A split is due, and for some time there has been no place for it.
    case splitOverdue
    /// A playlist or a redirect named an address that its origin may not name.
    case addressRefused
}

/// Why one load of a playlist failed; the raw value is the label of the metric.
enum PlaylistFailure: String, CaseIterable, Sendable {
    case network, http, invalid
}

/// How a source ended without an error.
enum SourceEnd: Equatable, Sendable {
    /// The stream is over: `EXT-X-ENDLIST`, silence, or a program that exited with 0.
    case finished
    /// `stop` was requested.
    case stopped
}

/// Why a source could not go on.
enum SourceError: Error, Equatable, CustomStringConvertible {
    /// The media could not be stored.
    case sink(SystemError)
    /// The program could not be started, or ended with a failure.
    case program(String)
    /// The stream could not be loaded, or is of a kind that is not supported.
    case stream(String)

    var description: String {
        switch self {
        case .sink(let error): "media not stored: \(error)"
        case .program(let text), .stream(let text): text
        }
    }
}
