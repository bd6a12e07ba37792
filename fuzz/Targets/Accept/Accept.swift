@testable import Exporter

/// Any field gives a format, and the same one when it is asked for again.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzAccept(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let field = String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
    var negotiation = Negotiation()
    let format = negotiation.format(for: field)
    precondition(negotiation.format(for: field) == format)
    return 0
}
