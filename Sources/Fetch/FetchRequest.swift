package import FoundationEssentials

/// What is to be had from the network.
package struct FetchRequest: Hashable, Sendable {
    package var url: URL
    /// `nil` for the whole resource.
    package var range: ByteRange?
    package var limits: Fetcher.Limits

    package init(url: URL, range: ByteRange? = nil, limits: Fetcher.Limits) {
        (self.url, self.range, self.limits) = (url, range, limits)
    }
}
