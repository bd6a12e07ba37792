/// Makes of what has been fetched what is written.
struct SegmentAssembly {
    let settings: SegmentQueue.Settings
    let downloads: [FetchRequest: Download]

    /// The segment, decrypted and found whole; `nil` while something of it is on its way.
    func unit(of segment: MediaSegment) throws(SegmentError) -> MediaUnit? {
        var header: [UInt8]?
        if let map = segment.map {
            guard let bytes = try bytes(of: settings.request(for: map), SegmentError.map),
                let clear = try decrypted(bytes, with: map.key, number: 0)
            else { return nil }
            header = clear
        }
        guard let bytes = try bytes(of: settings.request(for: segment), SegmentError.fetch),
            let clear = try decrypted(bytes, with: segment.key, number: segment.sequence)
        else { return nil }
        return try MediaUnit(header: header, media: clear)
    }

    private func decrypted(
        _ bytes: [UInt8],
        with key: SegmentKey?,
        number: UInt64
    ) throws(SegmentError) -> [UInt8]? {
        guard let key else { return bytes }
        guard let secret = try self.bytes(of: settings.request(for: key), SegmentError.key) else {
            return nil
        }
        guard secret.count == SegmentKey.byteCount else { throw .keySize(bytes: secret.count) }
        let vector = key.initializationVector(for: number)
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
