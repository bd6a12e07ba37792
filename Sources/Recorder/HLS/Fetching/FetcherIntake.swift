import CCurl
import Posix

/// What libcurl's callbacks find behind their pointer, while a transfer lasts.
@unsafe struct Intake {
    /// The handle that calls, to ask it about the head.
    let easy: UnsafeMutableRawPointer
    var exchange: Exchange
}

/// `CURLOPT_HEADERFUNCTION`: takes one line; another count than given ends the transfer.
func takeHeadLine(
    _ line: UnsafeMutablePointer<CChar>?,
    _ size: Int,
    _ count: Int,
    _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let intake = unsafe context?.assumingMemoryBound(to: Intake.self) else { return -1 }
    let isWanted = unsafe intake.pointee.exchange.takeHeadLine(byteCount: count)
    if let first = unsafe line?.pointee, first == 0x0D || first == 0x0A {
        unsafe intake.pointee.exchange.endHead(status: status(of: intake.pointee.easy))
    }
    return isWanted ? count : -1
}

/// `CURLOPT_WRITEFUNCTION`: takes a piece of the body; another count than given ends the transfer.
func takeBody(
    _ bytes: UnsafeMutablePointer<CChar>?,
    _ size: Int,
    _ count: Int,
    _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let intake = unsafe context?.assumingMemoryBound(to: Intake.self) else { return -1 }
    let piece = unsafe UnsafeRawBufferPointer(start: bytes, count: count)
    let announced = unsafe announced(by: intake.pointee.easy)
    let isWanted = unsafe piece.withMemoryRebound(to: UInt8.self) { piece in
        unsafe intake.pointee.exchange.takeBody(piece.span, announced: announced)
    }
    return isWanted ? count : -1
}

/// The `Content-Length` of the answer that is coming in.
func announced(by easy: UnsafeMutableRawPointer) -> Int? {
    var length: curl_off_t = -1
    unsafe ccurl_get_offset(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length)
    return length < 0 ? nil : Int(length)
}

private func status(of easy: UnsafeMutableRawPointer) -> Int {
    var status = 0
    unsafe ccurl_get_long(easy, CURLINFO_RESPONSE_CODE, &status)
    return status
}
