import Posix

extension RecordingContext {
    /// Counts and logs what a stream's source met.
    func note(_ event: SourceEvent, of stream: String, _ trouble: StreamTrouble) {
        metrics.count(event)
        switch event {
        case .segmentWritten: trouble.isOver()
        case .playlistFailed: break  // The source has said why.
        case .segmentsMissed(let count):
            log(.warn, "Segments missed", ["stream": stream, "count": "\(count)"])
        case .sequenceReset:
            log(.warn, "Media sequence began anew", ["stream": stream])
        case .variantChosen(let variant):
            guard trouble.isNews("variant: \(variant)") else { return }
            log(.info, "Variant chosen", ["stream": stream, "variant": variant])
        case .splitOverdue:
            log(.warn, "No place to split the recording yet", ["stream": stream])
        }
    }
}
