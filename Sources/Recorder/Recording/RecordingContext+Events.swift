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
        case .partJoined:
            guard trouble.isNewsWhileRecording("parts") else { return }
            let text = "Parts come too fast, and go on in the part before them"
            log(.warn, text, ["stream": stream])
        case .segmentsWaited:
            guard trouble.isNewsWhileRecording("memory") else { return }
            log(.warn, "Segments wait for memory (hls.memory)", ["stream": stream])
        case .splitOverdue:
            log(.warn, "No place to split the recording yet", ["stream": stream])
        }
    }
}
