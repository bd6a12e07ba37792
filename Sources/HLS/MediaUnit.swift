import CCrypto
import Fetch
package import Media

/// A segment as it is written: decrypted, and complete as far as its packets or boxes show.
package struct MediaUnit: Equatable, Sendable {
    /// The start of a file of fragmented MP4; `nil` for a transport stream.
    package let header: [UInt8]?
    package let media: [UInt8]

    package var container: MediaContainer { header == nil ? .mpegTS : .fragmentedMP4 }

    init(header: [UInt8]?, media: [UInt8]) throws(SegmentFailure) {
        if let header {
            guard FragmentedMP4.isHeader(header) else { throw .notHeader(bytes: header.count) }
            guard FragmentedMP4.isFragments(media) else { throw .notFragments(bytes: media.count) }
        } else if !TransportStream.isAligned(media.span) {
            throw .notTransportStream(bytes: media.count)
        }
        (self.header, self.media) = (header, media)
    }
}

extension MediaUnit {
    /// The segment, decrypted and verified; `nil` while a part of it is being fetched.
    static func assemble(
        _ segment: MediaSegment,
        _ requests: SegmentRequests,
        _ downloads: [FetchRequest: Download]
    ) throws(SegmentFailure) -> MediaUnit? {
        var header: [UInt8]?
        if let map = requests.map {
            let vector = segment.map?.key?.initializationVector(for: 0)
            guard let bytes = try bytes(of: map, downloads, SegmentFailure.map),
                let clear = try decrypted(bytes, with: requests.mapKey, vector, downloads)
            else { return nil }
            header = clear
        }
        let vector = segment.key?.initializationVector(for: segment.sequence)
        guard let bytes = try bytes(of: requests.media, downloads, SegmentFailure.fetch),
            let clear = try decrypted(bytes, with: requests.key, vector, downloads)
        else { return nil }
        return try MediaUnit(header: header, media: clear)
    }

    private static func decrypted(
        _ bytes: [UInt8],
        with key: FetchRequest?,
        _ vector: [UInt8]?,
        _ downloads: [FetchRequest: Download]
    ) throws(SegmentFailure) -> [UInt8]? {
        guard let key, let vector else { return bytes }
        guard let secret = try self.bytes(of: key, downloads, SegmentFailure.key) else {
            return nil
        }
        guard secret.count == SegmentKey.byteCount else { throw .keySize(bytes: secret.count) }
        guard let clear = AES128.decrypt(bytes, key: secret, initializationVector: vector) else {
            throw .decryption
        }
        return clear
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

    var description: String {
        switch self {
        case .address(let error): error.description
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

    /// The plain bytes; `nil` if the length or the padding is wrong.
    ///
    /// - Precondition: `key` and `initializationVector` are of 16 bytes.
    static func decrypt(
        _ bytes: [UInt8],
        key: [UInt8],
        initializationVector: [UInt8]
    ) -> [UInt8]? {
        precondition(key.count == blockBytes && initializationVector.count == blockBytes)
        guard !bytes.isEmpty, bytes.count % blockBytes == 0 else { return nil }
        guard let context = unsafe EVP_CIPHER_CTX_new() else { return nil }
        defer { unsafe EVP_CIPHER_CTX_free(context) }
        guard
            unsafe EVP_DecryptInit_ex(context, EVP_aes_128_cbc(), nil, key, initializationVector)
                == 1
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
