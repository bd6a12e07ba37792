import Fetch

/// Makes of what has been fetched what is written.
struct SegmentAssembly {
    let requests: SegmentRequests
    let downloads: [FetchRequest: Download]

    /// The segment, decrypted and found whole; `nil` while something of it is on its way.
    func unit(of segment: MediaSegment) throws(SegmentError) -> MediaUnit? {
        var header: [UInt8]?
        if let map = requests.map {
            let vector = segment.map?.key?.initializationVector(for: 0)
            guard let bytes = try bytes(of: map, SegmentError.map),
                let clear = try decrypted(bytes, with: requests.mapKey, vector)
            else { return nil }
            header = clear
        }
        let vector = segment.key?.initializationVector(for: segment.sequence)
        guard let bytes = try bytes(of: requests.media, SegmentError.fetch),
            let clear = try decrypted(bytes, with: requests.key, vector)
        else { return nil }
        return try MediaUnit(header: header, media: clear)
    }

    private func decrypted(
        _ bytes: [UInt8],
        with key: FetchRequest?,
        _ vector: [UInt8]?
    ) throws(SegmentError) -> [UInt8]? {
        guard let key, let vector else { return bytes }
        guard let secret = try self.bytes(of: key, SegmentError.key) else { return nil }
        guard secret.count == SegmentKey.byteCount else { throw .keySize(bytes: secret.count) }
        guard let clear = AES128.decrypt(bytes, key: secret, initializationVector: vector) else {
            throw .decryption
        }
        return clear
    }

    private func bytes(
        of request: FetchRequest,
        _ wrap: (FetchError) -> SegmentError
    ) throws(SegmentError) -> [UInt8]? {
        do throws(FetchError) {
            return try downloads[request]?.bytes()
        } catch {
            throw wrap(error)
        }
    }
}
