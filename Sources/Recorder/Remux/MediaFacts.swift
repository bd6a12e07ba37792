import Glibc
import Media
import Posix

/// The packets of each stream of a file, as ffprobe counts them.
///
/// Not its duration: a conversion closes gaps in the timestamps, and 1 % of an hour is 36 s of footage.
struct MediaFacts: Equatable, Sendable {
    struct Stream: Equatable, Sendable {
        /// `video`, `audio` or another; `nil` until ffprobe has named it.
        var kind: String?
        var packets = 0
        /// Those from the first key frame on: a conversion without encoding begins there.
        var packetsFromKey = 0
    }

    /// By their index in the file.
    private(set) var streams: [Int: Stream] = [:]
    /// Whether there were more than are kept.
    private(set) var hasTooManyStreams = false

    static let maxStreams = 64

    /// Has ffprobe read the open file to its end, as a file of `container`, whatever its content or name suggest.
    static func of(
        _ file: borrowing FileDescriptor,
        as container: MediaContainer,
        until stop: StopSignal
    ) throws(BackgroundProgram.Failure) -> MediaFacts {
        let probe = BackgroundProgram(
            arguments: ["ffprobe", "-v", "error"] + container.probing + [
                "-of", "compact", "-show_entries",
                "packet=stream_index,flags:stream=index,codec_type",
                BackgroundProgram.path(ofFile: 0),
            ],
            patience: .forMedia(of: (try? file.status().st_size) ?? 0),
            files: [file.rawValue]
        )
        var facts = MediaFacts()
        try probe.run(until: stop) { facts.take($0) }
        guard !facts.hasTooManyStreams else {
            throw .failed("more than \(maxStreams) streams in the file")
        }
        return facts
    }

    /// Takes a line of ffprobe's, such as `packet|stream_index=0|flags=K_` or `stream|index=0|codec_type=video`.
    ///
    /// A stream of a program is in lines of its own, `program|stream|…`, which do not count.
    mutating func take(_ line: String) {
        let fields = line.split(separator: "|")
        func value(_ key: String) -> Substring? {
            fields.first { $0.hasPrefix(key) }?.dropFirst(key.count)
        }
        switch fields.first {
        case "packet":
            guard let index = value("stream_index=").flatMap({ Int($0) }) else { return }
            let isKey = value("flags=")?.hasPrefix("K") ?? false
            update(index) { stream in
                stream.packets += 1
                if isKey || stream.packetsFromKey > 0 { stream.packetsFromKey += 1 }
            }
        case "stream":
            guard let index = value("index=").flatMap({ Int($0) }) else { return }
            let kind = value("codec_type=").map { String($0) }
            update(index) { $0.kind = kind }
        default: break
        }
    }

    private mutating func update(_ index: Int, _ body: (inout Stream) -> Void) {
        guard streams[index] != nil || streams.count < Self.maxStreams else {
            hasTooManyStreams = true
            return
        }
        body(&streams[index, default: Stream()])
    }

    /// The indices of the video and audio streams that have media, video first: what a conversion is to keep.
    var tracks: [Int] { tracks("video") + tracks("audio") }

    private func tracks(_ kind: String) -> [Int] {
        streams.filter { $0.value.kind == kind && $0.value.packets > 0 }.keys.sorted()
    }

    /// What a conversion of a file with these facts into `product` has lost; `nil` when that is nothing.
    func loss(in product: MediaFacts) -> String? {
        guard !tracks.isEmpty else { return "the source has no video and no audio" }
        for kind in ["video", "audio"] {
            let (mine, theirs) = (tracks(kind), product.tracks(kind))
            guard mine.count == theirs.count else {
                return "the product has \(theirs.count) \(kind) streams, the source \(mine.count)"
            }
            for (source, converted) in zip(mine, theirs) {
                guard let source = streams[source], let count = product.streams[converted]?.packets
                else { continue }
                guard source.packetsFromKey > 0 else {
                    return "the source has a \(kind) stream without a key frame"
                }
                guard (source.packetsFromKey...source.packets).contains(count) else {
                    return
                        "the product has \(count) \(kind) packets, the source \(source.packetsFromKey)"
                }
            }
        }
        return nil
    }
}

extension MediaContainer {
    /// Options of ffmpeg and ffprobe for reading a file of this container that a stranger may have written: as this
    /// container and no other, and nothing but that file.
    ///
    /// A stream may begin late; its kind is known only from its first packets.
    var probing: [String] {
        let shared = [
            "-protocol_whitelist", "file,pipe", "-analyzeduration", "60M", "-probesize", "64M",
        ]
        return switch self {
        case .mpegTS: shared + ["-f", "mpegts"]
        // A list of edits hides packets.
        case .fragmentedMP4: shared + ["-f", "mp4", "-ignore_editlist", "1"]
        }
    }
}

extension Duration {
    /// Time for a program that reads so many bytes: a disk that is busy with recordings still does a megabyte a second.
    static func forMedia(of bytes: Int) -> Duration { .seconds(600 + max(0, bytes) >> 20) }
}
