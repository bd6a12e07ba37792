extension SegmentQueue.Settings {
    /// All that a segment needs, the segment itself at last.
    func requests(for segment: MediaSegment) -> [FetchRequest] {
        let keys = [segment.map?.key, segment.key].compactMap { $0.map(request) }
        return keys + [segment.map.map(request)].compactMap(\.self) + [request(for: segment)]
    }

    func request(for segment: MediaSegment) -> FetchRequest {
        FetchRequest(url: segment.url, range: segment.range, limits: self.segment)
    }

    func request(for map: InitializationSection) -> FetchRequest {
        FetchRequest(url: map.url, range: map.range, limits: self.map)
    }

    func request(for key: SegmentKey) -> FetchRequest {
        FetchRequest(url: key.url, range: nil, limits: self.key)
    }
}
