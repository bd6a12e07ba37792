import Posix

extension RecordingContext {
    /// Counts and logs what a stream's source met.
    func note(_ event: SourceEvent, of stream: String, _ limiter: LogLimiter) {
        metrics.count(event)
        switch event {
        case .segmentWritten: break
        case .playlistFailed, .addressRefused: break  // The source has logged why.
        case .segmentsMissed(let count):
            log(
                .warn,
                "Segments missed",
                ["stream": stream, "count": "\(count)"],
                limitedBy: limiter,
                condition: "segments"
            )
        case .sequenceReset:
            log(
                .warn,
                "Media sequence began anew",
                ["stream": stream],
                limitedBy: limiter,
                condition: "sequence"
            )
        case .variantChosen(let variant):
            guard limiter.shouldLog("variant: \(variant)") else { return }
            log(.info, "Variant chosen", ["stream": stream, "variant": variant])
        case .partJoined:
            guard limiter.shouldLog("parts") else { return }
            let text = "New parts are too frequent, media is appended to the current part"
            log(.warn, text, ["stream": stream])
        case .segmentsWaited:
            guard limiter.shouldLog("memory") else { return }
            log(.warn, "Segments wait for memory (hls.memory)", ["stream": stream])
        case .splitOverdue:
            log(.warn, "No place to split the recording yet", ["stream": stream])
        }
    }
}
