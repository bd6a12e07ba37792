import Fetch

/// All that a segment needs from the network.
struct SegmentRequests {
    let media: FetchRequest
    /// The header.
    private(set) var map: FetchRequest?
    private(set) var mapKey: FetchRequest?
    private(set) var key: FetchRequest?

    init(
        for segment: MediaSegment,
        _ settings: SegmentQueue.Settings
    ) throws(AddressError) {
        media = FetchRequest(
            url: try segment.address.resolved(),
            range: segment.range,
            limits: settings.segment
        )
        if let section = segment.map {
            let url = try section.address.resolved()
            map = FetchRequest(url: url, range: section.range, limits: settings.map)
        }
        if let key = segment.map?.key { mapKey = try Self.request(for: key, settings) }
        if let key = segment.key { self.key = try Self.request(for: key, settings) }
    }

    private static func request(
        for key: SegmentKey,
        _ settings: SegmentQueue.Settings
    ) throws(AddressError) -> FetchRequest {
        FetchRequest(url: try key.address.resolved(), range: nil, limits: settings.key)
    }

    /// In the order in which they are made.
    var all: [FetchRequest] { [mapKey, key, map].compactMap(\.self) + [media] }
}
