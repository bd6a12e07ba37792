@testable import Exporter

/// Any field gives a format.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzAccept(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let field = String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
    _ = AcceptField(field).format
    return 0
}
