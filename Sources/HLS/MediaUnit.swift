import CCrypto
import Fetch
package import Media

/// A segment as it is written: decrypted, and recognized by its content.
package struct MediaUnit: Equatable, Sendable {
    package let container: MediaContainer
    /// What must stand at the start of a file: `ftyp` and `moov`, or the tables of a transport stream; `nil` where `media`
    /// needs nothing before it.
    package let header: [UInt8]?
    /// Complete fragments; of a transport stream also bytes that belong to no packet, or to one that the next segment completes.
    package internal(set) var media: [UInt8]
    /// Deviations from RFC 8216 in spite of which it can be recorded.
    var deviations: Set<PlaylistDeviation> = []

    /// Recognizes `media`; `header` is the content of `EXT-X-MAP`.
    init(header: [UInt8]?, media: [UInt8]) throws(SegmentFailure) {
        if let header, !TransportStream.isPlausible(header) {
            guard FragmentedMP4.isHeader(header) else { throw .notHeader(bytes: header.count) }
            (container, self.header) = (.fragmentedMP4, header)
            self.media =
                FragmentedMP4.headerLength(of: media).map { [UInt8](media[$0...]) } ?? media
        } else if TransportStream.isPlausible(media) {
            (container, self.header, self.media) = (.mpegTS, header, media)
            return
        } else if let length = FragmentedMP4.headerLength(of: media) {
            container = .fragmentedMP4
            (self.header, self.media) = ([UInt8](media[..<length]), [UInt8](media[length...]))
        } else {
            throw .notTransportStream(bytes: media.count)
        }
        guard FragmentedMP4.isFragments(self.media) else { throw .notFragments(bytes: media.count) }
    }
}

extension MediaUnit {
    /// The segment, decrypted and recognized; `nil` while a part of it is being fetched.
    static func assemble(
        _ segment: MediaSegment,
        _ requests: SegmentRequests,
        _ downloads: [FetchRequest: Download]
    ) throws(SegmentFailure) -> MediaUnit? {
        var header: [UInt8]?
        if let map = requests.map {
            guard let bytes = try bytes(of: map, downloads, SegmentFailure.map),
                let clear = try decrypted(bytes, with: segment.map?.key, requests.mapKey, downloads)
            else { return nil }
            header = clear.bytes
        }
        guard let bytes = try bytes(of: requests.media, downloads, SegmentFailure.fetch),
            let clear = try decrypted(bytes, with: segment.key, requests.key, downloads)
        else { return nil }
        var unit = try MediaUnit(header: header, media: clear.bytes)
        if !clear.isPadded { unit.deviations.insert(.padding) }
        return unit
    }

    /// Some encoders omit the padding; whether that is so here, or the key is wrong, the content shows.
    private static func decrypted(
        _ bytes: [UInt8],
        with key: SegmentKey?,
        _ request: FetchRequest?,
        _ downloads: [FetchRequest: Download]
    ) throws(SegmentFailure) -> (bytes: [UInt8], isPadded: Bool)? {
        guard let key else { return (bytes, true) }
        let secret: [UInt8]
        switch key.source {
        case .inline(let bytes): secret = bytes
        case .address:
            guard let request,
                let bytes = try self.bytes(of: request, downloads, SegmentFailure.key)
            else { return nil }
            secret = bytes
        }
        guard secret.count == SegmentKey.byteCount else { throw .keySize(bytes: secret.count) }
        let vector = key.vectorBytes
        if let clear = AES128.decrypt(bytes, key: secret, initializationVector: vector) {
            return (clear, true)
        }
        let unpadded = AES128.decrypt(
            bytes,
            key: secret,
            initializationVector: vector,
            isPadded: false
        )
        guard let unpadded else { throw .decryption }
        return (unpadded, false)
    }

    private static func bytes(
        of request: FetchRequest,
        _ downloads: [FetchRequest: Download],
        _ wrap: (FetchError) -> SegmentFailure
    ) throws(SegmentFailure) -> [UInt8]? {
        do throws(FetchError) {
            return try downloads[request]?.bytes()
        } catch {
            throw wrap(error)
        }
    }
}

/// Why a segment is missed.
enum SegmentFailure: Error, Equatable, CustomStringConvertible {
    case address(URLPolicyError)
    /// A tag of the playlist that belongs to it cannot be read.
    case unreadable
    case fetch(FetchError)
    case key(FetchError)
    case keySize(bytes: Int)
    case decryption
    case map(FetchError)
    case notTransportStream(bytes: Int)
    /// Not complete boxes with a `moof` and an `mdat`.
    case notFragments(bytes: Int)
    /// An initialization section without `ftyp` and `moov`.
    case notHeader(bytes: Int)

    /// Whether the playlist may have another address by now.
    var isOfAddress: Bool {
        switch self {
        case .fetch(let error), .key(let error), .map(let error):
            error.status.map { [401, 403, 404, 410].contains($0) } ?? false
        default: false
        }
    }

    var description: String {
        switch self {
        case .address(let error): error.description
        case .unreadable: "invalid EXT-X-BYTERANGE"
        case .fetch(let error): error.description
        case .key(let error): "key: \(error)"
        case .keySize(let bytes): "key of \(bytes) bytes"
        case .decryption: "does not decrypt"
        case .map(let error): "EXT-X-MAP: \(error)"
        case .notTransportStream(let bytes): "\(bytes) bytes that are not a transport stream"
        case .notFragments(let bytes): "\(bytes) bytes that are not complete MP4 fragments"
        case .notHeader(let bytes): "EXT-X-MAP: \(bytes) bytes that are not an MP4 header"
        }
    }
}

/// AES-128 of HLS (RFC 8216, section 4.3.2.4): CBC with PKCS #7 padding, by the system's libcrypto.
enum AES128 {
    static let blockBytes = 16

    /// The plain bytes; `nil` when the length, or the padding if there is to be one, shows that this was not encrypted so.
    ///
    /// - Precondition: `key` and `initializationVector` are of 16 bytes.
    static func decrypt(
        _ bytes: [UInt8],
        key: [UInt8],
        initializationVector: [UInt8],
        isPadded: Bool = true
    ) -> [UInt8]? {
        precondition(key.count == blockBytes && initializationVector.count == blockBytes)
        guard !bytes.isEmpty, bytes.count % blockBytes == 0 else { return nil }
        guard let context = unsafe EVP_CIPHER_CTX_new() else { return nil }
        defer { unsafe EVP_CIPHER_CTX_free(context) }
        guard
            unsafe EVP_DecryptInit_ex(context, EVP_aes_128_cbc(), nil, key, initializationVector)
                == 1,
            unsafe EVP_CIPHER_CTX_set_padding(context, isPadded ? 1 : 0) == 1
        else { return nil }
        // libcrypto may write a block more than it gets, before it removes the padding.
        let plain = unsafe [UInt8](unsafeUninitializedCapacity: bytes.count + blockBytes) {
            plain,
            count in
            count = unsafe decrypt(bytes, into: plain, context) ?? 0
        }
        return plain.isEmpty ? nil : plain
    }

    /// The number of plain bytes; `nil` if the padding is wrong.
    private static func decrypt(
        _ bytes: [UInt8],
        into plain: UnsafeMutableBufferPointer<UInt8>,
        _ context: OpaquePointer
    ) -> Int? {
        var (count, rest): (CInt, CInt) = (0, 0)
        let length = CInt(bytes.count)
        guard unsafe EVP_DecryptUpdate(context, plain.baseAddress, &count, bytes, length) == 1,
            let start = plain.baseAddress,
            unsafe EVP_DecryptFinal_ex(context, start + Int(count), &rest) == 1
        else { return nil }
        return Int(count + rest)
    }
}
