import Foundation
import FuzzSupport
import Glibc
import Posix
import Synchronization

@testable import Fetch
@testable import Recorder

/// What an origin answers, byte by byte, to the real client; the first letter says what is asked for.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzResponse(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = input(start, count)
    let range = bytes.first == UInt8(ascii: "r") ? ByteRange(offset: 2, count: 5) : nil
    let limits = FetchLimits(bytes: 1000, timeout: .seconds(20), redirects: 2)
    guard let origin, let stop else { fatalError("no origin") }
    origin.answer.withLock { $0 = Array(bytes.dropFirst()) }
    let result = Result { () throws(FetchError) in
        try Fetcher(userAgent: "test").get(origin.url, range: range, limits: limits, until: stop)
    }
    switch result {
    case .success(let body):
        require(body.bytes.count <= 1000, "bounded: \(body.bytes.count)")
        require(
            range.map { $0.count == body.bytes.count } ?? true,
            "the range: \(body.bytes.count)"
        )
    case .failure(let error):
        require(error != .timedOut && error != .cancelled, "ends by itself: \(error)")
        require("\(error)".unicodeScalars.allSatisfy { $0.value >= 0x20 }, "one line: \(error)")
    }
    return 0
}

private let origin = try? Origin()
private let stop = try? StopSignal()

/// Answers every request on loopback with the same bytes, and closes.
private final class Origin: Sendable {
    let answer = Mutex<[UInt8]>([])
    private let listener: CInt
    let url: URL

    init() throws {
        let listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                require(
                    bind(listener, address, length) == 0 && listen(listener, 16) == 0,
                    "listens"
                )
                require(getsockname(listener, address, &length) == 0, "has a port")
            }
        }
        guard let url = URL(string: "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))/")
        else {
            fatalError("no address")
        }
        (self.listener, self.url) = (listener, url)
        Thread.detachNewThread { [self] in serve() }
    }

    private func serve() {
        while true {
            let connection = accept(listener, nil, nil)
            guard connection >= 0 else { continue }
            var head = [UInt8](repeating: 0, count: 4096)
            _ = recv(connection, &head, head.count, 0)
            let answer = answer.withLock { $0 }
            _ = send(connection, answer, answer.count, CInt(MSG_NOSIGNAL))
            // The end is seen before what is not read makes a reset of it.
            shutdown(connection, CInt(SHUT_WR))
            while recv(connection, &head, head.count, 0) > 0 {}
            close(connection)
        }
    }
}
