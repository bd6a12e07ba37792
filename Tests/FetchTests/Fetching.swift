import Foundation
import Posix
import TestSupport

@testable import Fetch

let standard = FetchLimits(bytes: 1 << 20, timeout: .seconds(60))

func fetched(
    _ fetcher: Fetcher,
    _ url: URL,
    _ limits: FetchLimits,
    _ stop: StopSignal
) -> Result<FetchedBody, FetchError> {
    Result { () throws(FetchError) in try fetcher.get(url, limits: limits, until: stop) }
}

/// Fetches once, on a thread of its own, with a fetcher that ends with it.
func get(
    _ url: URL,
    _ limits: FetchLimits = standard,
    until stop: StopSignal
) async -> Result<FetchedBody, FetchError> {
    await onThread { fetched(Fetcher(userAgent: "test"), url, limits, stop) }
}
