/// The packets of an MPEG transport stream (ISO/IEC 13818-1): 188 bytes that begin with 0x47.
package enum TransportStream {
    package static let packetBytes = 188
    package static let syncByte: UInt8 = 0x47

    /// Whether `media` is packets from its first byte to its last, as far as sync bytes tell.
    package static func isWhole(_ media: Span<UInt8>) -> Bool {
        !media.isEmpty && media.count % packetBytes == 0
            && stride(from: 0, to: media.count, by: packetBytes).allSatisfy {
                media[$0] == syncByte
            }
    }
}
