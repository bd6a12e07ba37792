import Posix

extension RecordingContext {
    /// Counts and logs what a stream's source met.
    func note(_ event: SourceEvent, of stream: String, _ limiter: LogLimiter) {
        metrics.count(event)
        switch event {
        case .segmentWritten: break
        case .playlistFailed, .addressRefused: break  // The source has logged why.
        case .segmentsMissed(let count):
            log(.warn, "Segments missed", ["stream": stream, "count": "\(count)"])
        case .sequenceReset:
            log(.warn, "Media sequence began anew", ["stream": stream])
        case .variantChosen(let variant):
            guard limiter.shouldLog("variant: \(variant)") else { return }
            log(.info, "Variant chosen", ["stream": stream, "variant": variant])
        case .partJoined:
            guard limiter.shouldLog("parts") else { return }
            let text = "Parts come too fast, and go on in the part before them"
            log(.warn, text, ["stream": stream])
        case .segmentsWaited:
            guard limiter.shouldLog("memory") else { return }
            log(.warn, "Segments wait for memory (hls.memory)", ["stream": stream])
        case .splitOverdue:
            log(.warn, "No place to split the recording yet", ["stream": stream])
        }
    }
}
