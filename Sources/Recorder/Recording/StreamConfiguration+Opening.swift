import Fetch
import Media
import Posix

extension StreamConfiguration {
    /// What delivers the stream's media, and has ended at most `patience` after it was asked to.
    ///
    /// What repeats itself while the stream is off is logged once in a while.
    func makeSource(
        endingWithin patience: Duration,
        _ exceptions: AddressExceptions,
        _ memory: SegmentMemory,
        _ log: Log,
        _ limiter: LogLimiter
    ) -> any MediaSource {
        switch source {
        case .hls(let url, let quality, let start):
            var settings = HLSSource.Settings()
            (settings.quality, settings.startPoint) = (quality, start)
            settings.addressExceptions = exceptions
            settings.segments.memory = memory
            return HLSSource(url: url, settings: settings) { [name] line in
                let condition = LogLimiter.withoutNumbers(line)
                let fields: KeyValuePairs = ["stream": name, "line": line]
                log(.warn, "Source says", fields, limitedBy: limiter, condition: condition)
            }
        case .command(let argv, _):
            let stages = StopStage.standard.fitted(into: patience)
            return CommandSource(arguments: argv, stages: stages) { [name] line in
                let condition = LogLimiter.withoutNumbers(line)
                let fields: KeyValuePairs = ["stream": name, "line": line]
                log(.info, "Source says", fields, limitedBy: limiter, condition: condition)
            }
        }
    }

    /// Whether the log has a playlist's error already, as a line of the source: it need not have it again when the source ends for it.
    static func isLogged(_ error: SourceError, by limiter: LogLimiter) -> Bool {
        guard case .stream(let reason) = error else { return false }
        let line = HLSSource.lineOfFailedLoad(because: reason)
        return limiter.isSuppressed("Source says: \(LogLimiter.withoutNumbers(line))")
    }

    /// How the media is packed, as far as it is known before it comes.
    var container: MediaContainer {
        switch source {
        case .hls: .mpegTS
        case .command(_, let container): container
        }
    }
}
