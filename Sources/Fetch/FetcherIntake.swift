import CCurl
import Glibc
import Posix

/// What libcurl's callbacks find behind their pointer, while a transfer lasts.
@unsafe struct Intake {
    /// The handle that calls, to ask it about the head.
    let easy: UnsafeMutableRawPointer
    var exchange: Exchange
    var connection = ConnectionCheck()
}

/// Whether the connection of a request may be used; pure.
struct ConnectionCheck {
    /// Who names the address; `nil` where that is the configuration.
    private let namer: ServerPlace?
    private let exceptions: AddressExceptions
    /// Whether the address is not judged: its name is allowed, or it is a proxy's to connect.
    private let isExempt: Bool
    private let isProxied: Bool
    /// Where the server is that is asked; `nil` until one is.
    private(set) var place: ServerPlace?
    /// The last address that was not asked.
    private(set) var refusal: AddressRefusal?

    /// Lets every connection pass.
    init() {
        (namer, exceptions, isExempt, isProxied) = (nil, AddressExceptions(), true, false)
    }

    init(
        of host: String,
        namedBy namer: ServerPlace?,
        _ exceptions: AddressExceptions,
        isProxied: Bool
    ) {
        (self.namer, self.exceptions, self.isProxied) = (namer, exceptions, isProxied)
        isExempt = isProxied || exceptions.contains(host: host)
    }

    /// Whether to connect to an address in numbers.
    mutating func mayOpen(_ address: String) -> Bool {
        isExempt || judge(address, isThisMachine: false) != nil
    }

    /// Whether to send the request over a connection, which may be an old one.
    mutating func mayUse(to address: String, from own: String) -> Bool {
        guard !isProxied else {
            // Nobody knows where the server is: it counts as a public one.
            place = ServerPlace(scope: .global)
            return true
        }
        place = judge(address, isThisMachine: address == own)
        return isExempt || place != nil
    }

    /// The place of the address; `nil`, and a refusal, where it must not be asked.
    private mutating func judge(_ address: String, isThisMachine: Bool) -> ServerPlace? {
        // What cannot be read is not asked, and nothing that it names either.
        let parsed = IPAddress(address)
        let scope = parsed.map { AddressScope(of: $0) } ?? .local
        let place = ServerPlace(
            scope: parsed == nil ? .global : scope,
            isThisMachine: isThisMachine
        )
        let target = ServerPlace(scope: scope, isThisMachine: isThisMachine)
        let isAllowed = isExempt || parsed.map { exceptions.contains($0) } ?? false
        guard isAllowed || namer?.mayName(target) ?? true else {
            refusal = AddressRefusal(address: address, scope: scope)
            return nil
        }
        return place
    }
}

/// `CURLOPT_OPENSOCKETFUNCTION`: opens a socket, or refuses the address; libcurl then tries the next one of the name.
func openSocket(
    _ context: UnsafeMutableRawPointer?,
    _ purpose: curlsocktype,
    _ address: UnsafeMutablePointer<curl_sockaddr>?
) -> curl_socket_t {
    guard let intake = unsafe context?.assumingMemoryBound(to: Intake.self),
        let address = unsafe address
    else { return -1 }
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    unsafe ccurl_address_text(address, &text)
    guard unsafe intake.pointee.connection.mayOpen(string(of: text)) else { return -1 }
    let kind = unsafe address.pointee.socktype | CInt(SOCK_CLOEXEC.rawValue)
    return unsafe socket(address.pointee.family, kind, address.pointee.protocol)
}

/// `CURLOPT_PREREQFUNCTION`: called before each request, whether its connection is new or an old one.
func judgeConnection(
    _ context: UnsafeMutableRawPointer?,
    _ address: UnsafeMutablePointer<CChar>?,
    _ own: UnsafeMutablePointer<CChar>?,
    _ port: CInt,
    _ ownPort: CInt
) -> CInt {
    guard let intake = unsafe context?.assumingMemoryBound(to: Intake.self) else { return 1 }
    let address = unsafe address.map { unsafe String(cString: $0) } ?? ""
    let own = unsafe own.map { unsafe String(cString: $0) } ?? ""
    // `CURL_PREREQFUNC_OK` and `CURL_PREREQFUNC_ABORT`.
    return unsafe intake.pointee.connection.mayUse(to: address, from: own) ? 0 : 1
}

private func string(of text: [CChar]) -> String {
    String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
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
