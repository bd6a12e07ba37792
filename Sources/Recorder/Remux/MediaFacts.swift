import FoundationEssentials
import Posix

/// What ffprobe says of a file.
struct MediaFacts: Equatable, Sendable {
    var seconds: Double
    var videoStreams: Int
    var audioStreams: Int

    /// Asks ffprobe.
    static func of(
        _ path: String,
        until stop: StopSignal
    ) throws(BackgroundProgram.Failure) -> MediaFacts {
        let probe = BackgroundProgram(
            arguments: [
                "ffprobe", "-v", "error", "-of", "json",
                "-show_entries", "format=duration:stream=codec_type", path,
            ],
            patience: .seconds(120)
        )
        let text = try probe.run(until: stop)
        guard let facts = MediaFacts(json: text) else {
            throw .failed("ffprobe finds no duration in \(path)")
        }
        return facts
    }

    /// `nil` for what is no answer of ffprobe, or has no duration.
    init?(json: String) {
        struct Answer: Decodable {
            struct Stream: Decodable { let codecType: String? }
            struct Format: Decodable { let duration: String? }
            let streams: [Stream]
            let format: Format
        }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        guard let answer = try? decoder.decode(Answer.self, from: Data(json.utf8)),
            let seconds = answer.format.duration.flatMap({ Double($0) })
        else { return nil }
        self.seconds = seconds
        videoStreams = answer.streams.count { $0.codecType == "video" }
        audioStreams = answer.streams.count { $0.codecType == "audio" }
    }

    /// What a conversion of a file with these facts into `product` has lost; `nil` when that is nothing.
    ///
    /// A second may differ, or one part in a hundred: the containers count from different points.
    func loss(in product: MediaFacts) -> String? {
        guard product.videoStreams == videoStreams, product.audioStreams == audioStreams else {
            return "the product has not the same streams"
        }
        guard abs(product.seconds - seconds) <= max(1, seconds / 100) else {
            return "the product plays \(product.seconds) s, the source \(seconds) s"
        }
        return nil
    }
}
