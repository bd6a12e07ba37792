/// The little that must be known of MPEG-TS (ISO/IEC 13818-1) to append it.
enum TransportStream {
    static let packetBytes = 188
    static let syncByte: UInt8 = 0x47

    /// Whether `media` consists of whole packets, as far as their number and the first of them tell.
    static func isWhole(_ media: Span<UInt8>) -> Bool {
        !media.isEmpty && media.count % packetBytes == 0 && media[0] == syncByte
    }
}
