import Posix

extension StreamConfiguration {
    /// What delivers the stream's media.
    func makeSource(_ log: Log) -> any MediaSource {
        switch source {
        case .hls(let url):
            return HLSSource(url: url) { [name] line in
                log(.warn, "Source says", ["stream": name, "line": line])
            }
        case .command(let argv, _):
            return CommandSource(arguments: argv) { [name] line in
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
