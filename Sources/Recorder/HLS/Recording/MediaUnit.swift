import Media

/// A segment as it is written: decrypted, and whole as far as its packets or boxes tell.
struct MediaUnit: Equatable {
    /// What must stand at the start of a file of fragmented MP4; `nil` for a transport stream.
    let header: [UInt8]?
    let media: [UInt8]

    var container: MediaContainer { header == nil ? .mpegTS : .fragmentedMP4 }

    init(header: [UInt8]?, media: [UInt8]) throws(SegmentError) {
        if let header {
            guard FragmentedMP4.isHeader(header) else { throw .notHeader(bytes: header.count) }
            guard FragmentedMP4.isFragments(media) else { throw .notFragments(bytes: media.count) }
        } else if !TransportStream.isWhole(media.span) {
            throw .notTransportStream(bytes: media.count)
        }
        (self.header, self.media) = (header, media)
    }
}
