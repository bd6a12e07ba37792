import FoundationEssentials

/// What is to be had from the network.
struct FetchRequest: Hashable, Sendable {
    var url: URL
    /// `nil` for the whole resource.
    var range: ByteRange?
    var limits: Fetcher.Limits
}
