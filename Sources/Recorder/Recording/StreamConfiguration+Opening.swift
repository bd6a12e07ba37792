import Posix

extension StreamConfiguration {
    /// What delivers the stream's media, and has ended at most `patience` after it was asked to.
    func makeSource(endingWithin patience: Duration, _ log: Log) -> any MediaSource {
        switch source {
        case .hls(let url):
            return HLSSource(url: url) { [name] line in
                log(.warn, "Source says", ["stream": name, "line": line])
            }
        case .command(let argv, _):
            let stages = StopStage.standard.fitted(into: patience)
            return CommandSource(arguments: argv, stages: stages) { [name] line in
                log(.info, "Source says", ["stream": name, "line": line])
            }
        }
    }

    /// How the media is packed, and its files are named.
    var container: MediaContainer {
        switch source {
        case .hls: .mpegTS
        case .command(_, let container): container
        }
    }
}
