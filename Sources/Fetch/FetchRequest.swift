package import FoundationEssentials

/// What is to be had from the network.
package struct FetchRequest: Hashable, Sendable {
    package var url: URL
    /// `nil` for the whole resource.
    package var range: ByteRange?
    package var limits: FetchLimits

    package init(url: URL, range: ByteRange? = nil, limits: FetchLimits) {
        (self.url, self.range, self.limits) = (url, range, limits)
    }
}

/// The bounds of one request.
package struct FetchLimits: Hashable, Sendable {
    /// Bytes of the body.
    package var bytes: Int
    /// From the request to the last byte, redirects included.
    package var timeout: Duration
    /// How long less than 1000 bytes a second may come; whole seconds.
    var stall: Duration
    var redirects: Int

    package init(
        bytes: Int,
        timeout: Duration,
        stall: Duration = .seconds(10),
        redirects: Int = 10
    ) {
        (self.bytes, self.timeout) = (bytes, timeout)
        (self.stall, self.redirects) = (stall, redirects)
    }
}
