import CCurl
import FoundationEssentials
import Glibc
import Posix

/// Owns an easy handle: the options of its requests, and the latest response.
@safe final class EasyHandle {
    /// So many cookies are kept: libcurl sends no more, and an origin must not fill the memory with them.
    private static let cookieLimit = 150
    /// Whether libcurl is ready; a static property is initialized once, by the first thread that reads it.
    private static let isReady = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    private let handle: UnsafeMutableRawPointer
    /// Where libcurl writes its error messages.
    private let message: UnsafeMutableBufferPointer<CChar>
    /// What its callbacks use.
    private let context: UnsafeMutablePointer<CallbackContext>
    private let headers: HeaderList
    /// Must outlive the handle.
    private let cookies: CookieShare

    /// `headers` go with every request.
    init(headers: [String: String], userAgent: String, cookies: CookieShare) throws(FetchError) {
        let headers = try HeaderList(headers)
        guard Self.isReady, let handle = unsafe curl_easy_init() else {
            throw .network("libcurl does not start")
        }
        unsafe self.handle = handle
        unsafe message = .allocate(capacity: Int(CURL_ERROR_SIZE))
        unsafe message.initialize(repeating: 0)
        unsafe context = .allocate(capacity: 1)
        unsafe context.initialize(
            to: CallbackContext(easy: handle, collector: ResponseCollector(limit: 0))
        )
        self.headers = headers
        self.cookies = cookies
        try configure(userAgent: userAgent)
    }

    deinit {
        unsafe curl_easy_cleanup(handle)
        unsafe message.deallocate()
        unsafe context.deinitialize(count: 1)
        unsafe context.deallocate()
    }

    /// Sets the options that all requests have in common.
    private func configure(userAgent: String) throws(FetchError) {
        try set(CURLOPT_PROTOCOLS_STR, "http,https")
        try set(CURLOPT_FOLLOWLOCATION, 0)
        try set(CURLOPT_NOSIGNAL, 1)
        // Removing a transfer does not wait for a name that is being resolved.
        try set(CURLOPT_QUICK_EXIT, 1)
        // A few requests at a time gain nothing from HTTP/2.
        try set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        try set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        // Keeps cookies in memory, and reads no file.
        try set(CURLOPT_COOKIEFILE, "")
        try set(CURLOPT_USERAGENT, userAgent)
        // Media gains nothing from compression; if a server compresses in spite of this, libcurl expands it.
        try set(CURLOPT_ACCEPT_ENCODING, "identity")
        try unsafe set(CURLOPT_ERRORBUFFER, message.baseAddress)
        try unsafe headers.withPointer { list throws(FetchError) in
            try unsafe set(CURLOPT_HTTPHEADER, list)
        }
        try check(unsafe ccurl_set_callback(handle, CURLOPT_HEADERFUNCTION, addHeadLine))
        try check(unsafe ccurl_set_callback(handle, CURLOPT_WRITEFUNCTION, addBody))
        try check(unsafe ccurl_set_opensocket(handle, openSocket))
        try check(unsafe ccurl_set_prereq(handle, checkConnection))
        try unsafe set(CURLOPT_OPENSOCKETDATA, context)
        try unsafe set(CURLOPT_PREREQDATA, context)
        try unsafe set(CURLOPT_HEADERDATA, context)
        try unsafe set(CURLOPT_WRITEDATA, context)
        try unsafe cookies.withPointer { share throws(FetchError) in
            try unsafe set(CURLOPT_SHARE, share)
        }
    }

    /// Sets the next request, whose response goes into `collector`; without `isExpanded` its bytes stay as they are, whatever
    /// `Content-Encoding` says.
    func prepare(
        _ url: URL,
        _ request: FetchRequest,
        timeout: Duration,
        isExpanded: Bool = true,
        into collector: ResponseCollector
    ) throws(FetchError) {
        try set(CURLOPT_URL, url.absoluteString)
        try set(CURLOPT_HTTP_CONTENT_DECODING, isExpanded ? 1 : 0)
        let range = request.range.map { "\($0.offset)-\($0.end - 1)" }
        try check(unsafe ccurl_set_string(handle, CURLOPT_RANGE, range))
        // So that libcurl leaves time for the next address of a host whose first one does not answer.
        try set(CURLOPT_TIMEOUT_MS, max(1, Int(clamping: timeout.wholeNanoseconds / 1_000_000)))
        try set(CURLOPT_LOW_SPEED_LIMIT, 1000)
        try set(CURLOPT_LOW_SPEED_TIME, Int(request.limits.stall.components.seconds))
        unsafe message[0] = 0
        unsafe context.pointee.collector = collector
    }

    /// Sets the proxy of the next request, or `nil` to connect to the server itself, and the check of the connection.
    ///
    /// Without this libcurl uses the proxies of the environment.
    func connect(through proxy: String?, _ check: ConnectionCheck) throws(FetchError) {
        try set(CURLOPT_PROXY, proxy ?? "")
        try set(CURLOPT_NOPROXY, "")
        unsafe context.pointee.connection = check
    }

    /// The result of the checks of the connection.
    var connection: ConnectionCheck { unsafe context.pointee.connection }

    /// Sets the method and the content; the handle can then serve only this request.
    func setContent(_ method: String, _ body: [UInt8]) throws(FetchError) {
        guard method != "GET" else { return }
        try set(CURLOPT_CUSTOMREQUEST, method)
        try set(CURLOPT_POSTFIELDSIZE, body.count)
        // libcurl copies it, and so only reads.
        let code = unsafe body.withUnsafeBytes { body in
            let start = unsafe UnsafeMutableRawPointer(mutating: body.baseAddress)
            return unsafe ccurl_set_pointer(handle, CURLOPT_COPYPOSTFIELDS, start)
        }
        try check(code)
    }

    /// What has arrived of the response.
    var collector: ResponseCollector { unsafe context.pointee.collector }

    /// Releases the response.
    func reset() { unsafe context.pointee.collector = ResponseCollector(limit: 0) }

    /// Identifies the handle in the messages of a multi handle.
    var identity: UInt { unsafe UInt(bitPattern: handle) }

    /// Lends the handle, for calls that are not its own.
    func withHandle(_ body: (UnsafeMutableRawPointer) -> CURLMcode) -> CURLMcode {
        unsafe body(handle)
    }

    /// The number of the first byte in the latest response, from its `Content-Range: bytes 0-9/100`.
    var firstOfContentRange: Int? {
        guard let value = header("Content-Range")?.lowercased(), value.hasPrefix("bytes ") else {
            return nil
        }
        return decimal(value.dropFirst(6).prefix { $0 != "-" })
    }

    /// The `Location` of the latest response.
    var location: String? { header("Location") }

    /// How long the latest response asks to wait, from its `Retry-After`, as seconds or as a date (RFC 9110, section 10.2.3).
    var retryAfter: Duration? {
        var seconds: curl_off_t = 0
        unsafe ccurl_get_offset(handle, CURLINFO_RETRY_AFTER, &seconds)
        return seconds > 0 ? .seconds(Int(seconds)) : nil
    }

    /// The first value of a field of the latest response.
    func header(_ name: String) -> String? {
        var header: UnsafeMutablePointer<curl_header>?
        let origin = CUnsignedInt(CURLH_HEADER)
        let code = unsafe curl_easy_header(handle, name, 0, origin, -1, &header)
        guard code == CURLHE_OK, let value = unsafe header?.pointee.value else { return nil }
        return unsafe String(cString: value)
    }

    /// The `Content-Length` of the latest response.
    var announcedBytes: Int? { unsafe announced(by: handle) }

    /// The error message, without secrets of addresses and without characters that would break a line of the log.
    func text(of result: CURLcode) -> String {
        let detail = unsafe message.baseAddress.map { unsafe String(cString: $0) } ?? ""
        let text = detail.isEmpty ? unsafe String(cString: curl_easy_strerror(result)) : detail
        let printable = text.unicodeScalars.map { scalar in
            scalar.properties.generalCategory == .control || scalar == "\"" ? "'" : scalar
        }
        return redacted(String(String.UnicodeScalarView(printable)))
    }

    /// Deletes all cookies if there are too many.
    func limitCookies() {
        var first: UnsafeMutablePointer<curl_slist>?
        unsafe ccurl_get_list(handle, CURLINFO_COOKIELIST, &first)
        defer { unsafe curl_slist_free_all(first) }
        var (cookie, count) = unsafe (first, 0)
        while let next = unsafe cookie {
            unsafe (cookie, count) = (next.pointee.next, count + 1)
        }
        guard count > Self.cookieLimit else { return }
        unsafe ccurl_set_string(handle, CURLOPT_COOKIELIST, "ALL")
    }
}

extension EasyHandle {
    private func set(_ option: CURLoption, _ value: Int) throws(FetchError) {
        try check(unsafe ccurl_set_long(handle, option, value))
    }

    private func set(_ option: CURLoption, _ value: String) throws(FetchError) {
        try check(unsafe ccurl_set_string(handle, option, value))
    }

    private func set(_ option: CURLoption, _ value: UnsafeMutableRawPointer?) throws(FetchError) {
        try check(unsafe ccurl_set_pointer(handle, option, value))
    }

    private func check(_ code: CURLcode) throws(FetchError) {
        guard code != CURLE_OK else { return }
        throw .network(unsafe String(cString: curl_easy_strerror(code)))
    }
}

/// Owns a multi handle: it drives transfers without blocking, and keeps connections from one to the next.
@safe struct MultiHandle: ~Copyable {
    private let handle: UnsafeMutableRawPointer

    init() throws(FetchError) {
        guard let handle = unsafe curl_multi_init() else { throw .network("libcurl: no memory") }
        unsafe self.handle = handle
    }

    /// Takes ownership of a handle, which need not work.
    init(adopting handle: UnsafeMutableRawPointer) {
        unsafe self.handle = handle
    }

    deinit { unsafe curl_multi_cleanup(handle) }

    func add(_ easy: EasyHandle) throws(FetchError) {
        try check(unsafe easy.withHandle { unsafe curl_multi_add_handle(handle, $0) })
    }

    /// Ends the transfer.
    func remove(_ easy: EasyHandle) {
        _ = unsafe easy.withHandle { unsafe curl_multi_remove_handle(handle, $0) }
    }

    /// Continues all transfers without waiting; returns those that have ended, by their handles.
    func perform() throws(FetchError) -> [(identity: UInt, code: CURLcode)] {
        var count: CInt = 0
        try check(unsafe curl_multi_perform(handle, &count))
        var ended: [(identity: UInt, code: CURLcode)] = []
        while let message = unsafe curl_multi_info_read(handle, &count)?.pointee {
            guard unsafe message.msg == CURLMSG_DONE else { continue }
            let identity = unsafe UInt(bitPattern: message.easy_handle)
            unsafe ended.append((identity, message.data.result))
        }
        return ended
    }

    /// Waits until there is something to do, `descriptor` is readable, or the time is over.
    func wait(for time: Duration, or descriptor: CInt) throws(FetchError) {
        var extra = curl_waitfd(fd: descriptor, events: Int16(CURL_WAIT_POLLIN), revents: 0)
        try check(unsafe curl_multi_poll(handle, &extra, 1, time.pollTimeout, nil))
    }

    private func check(_ code: CURLMcode) throws(FetchError) {
        guard code != CURLM_OK else { return }
        throw .network(unsafe String(cString: curl_multi_strerror(code)))
    }
}

/// Owns the header fields that are sent in addition to libcurl's own.
@safe struct HeaderList: ~Copyable {
    private var first: UnsafeMutablePointer<curl_slist>?

    init(_ headers: [String: String]) throws(FetchError) {
        unsafe first = nil
        for (name, value) in headers {
            // libcurl sends a name without a value only if it ends in a semicolon.
            let line = value.isEmpty ? "\(name);" : "\(name): \(value)"
            // A line feed, such as at the end of a file with a secret, would begin another line.
            let list = unsafe curl_slist_append(first, line.filter { !$0.isNewline })
            guard let list = unsafe list else { throw .network("libcurl: no memory") }
            unsafe first = list
        }
    }

    deinit { unsafe curl_slist_free_all(first) }

    /// Lends the list to `body`, which may keep it as long as the owner lives.
    borrowing func withPointer<E: Error>(
        _ body: (UnsafeMutablePointer<curl_slist>?) throws(E) -> Void
    ) throws(E) {
        try unsafe body(first)
    }
}

/// Owns the cookies that several handles share; all of them are used by one thread, so that nothing is locked.
@safe final class CookieShare {
    private let handle: UnsafeMutableRawPointer

    init() throws(FetchError) {
        guard let handle = unsafe curl_share_init() else { throw .network("libcurl: no memory") }
        unsafe self.handle = handle
        guard unsafe ccurl_share(handle, CURL_LOCK_DATA_COOKIE) == CURLSHE_OK else {
            throw .network("libcurl shares no cookies")
        }
    }

    deinit { unsafe curl_share_cleanup(handle) }

    func withPointer<E: Error>(_ body: (UnsafeMutableRawPointer) throws(E) -> Void) throws(E) {
        try unsafe body(handle)
    }
}

/// What the pointer of libcurl's callbacks refers to during a transfer.
@unsafe private struct CallbackContext {
    /// The handle that calls, to read the head from.
    let easy: UnsafeMutableRawPointer
    var collector: ResponseCollector
    var connection = ConnectionCheck()
}

/// `CURLOPT_OPENSOCKETFUNCTION`: opens a socket, or refuses the address; libcurl then tries the next address of the name.
private func openSocket(
    _ context: UnsafeMutableRawPointer?,
    _ purpose: curlsocktype,
    _ address: UnsafeMutablePointer<curl_sockaddr>?
) -> curl_socket_t {
    guard let context = unsafe context?.assumingMemoryBound(to: CallbackContext.self),
        let address = unsafe address
    else { return -1 }
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    unsafe ccurl_address_text(address, &text)
    guard unsafe context.pointee.connection.mayOpen(string(of: text)) else { return -1 }
    let kind = unsafe address.pointee.socktype | CInt(SOCK_CLOEXEC.rawValue)
    return unsafe socket(address.pointee.family, kind, address.pointee.protocol)
}

/// `CURLOPT_PREREQFUNCTION`: called before each request, on a new or a reused connection.
private func checkConnection(
    _ context: UnsafeMutableRawPointer?,
    _ address: UnsafeMutablePointer<CChar>?,
    _ own: UnsafeMutablePointer<CChar>?,
    _ port: CInt,
    _ ownPort: CInt
) -> CInt {
    guard let context = unsafe context?.assumingMemoryBound(to: CallbackContext.self) else {
        return 1
    }
    let address = unsafe address.map { unsafe String(cString: $0) } ?? ""
    let own = unsafe own.map { unsafe String(cString: $0) } ?? ""
    // `CURL_PREREQFUNC_OK` and `CURL_PREREQFUNC_ABORT`.
    return unsafe context.pointee.connection.mayUse(to: address, from: own) ? 0 : 1
}

private func string(of text: [CChar]) -> String {
    String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}

/// `CURLOPT_HEADERFUNCTION`: adds a line; another result than `count` ends the transfer.
private func addHeadLine(
    _ line: UnsafeMutablePointer<CChar>?,
    _ size: Int,
    _ count: Int,
    _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let context = unsafe context?.assumingMemoryBound(to: CallbackContext.self) else {
        return -1
    }
    let isWanted = unsafe context.pointee.collector.addHeadLine(byteCount: count)
    if let first = unsafe line?.pointee, first == 0x0D || first == 0x0A {
        unsafe context.pointee.collector.endHead(status: status(of: context.pointee.easy))
    }
    return isWanted ? count : -1
}

/// `CURLOPT_WRITEFUNCTION`: adds a piece of the body; another result than `count` ends the transfer.
private func addBody(
    _ bytes: UnsafeMutablePointer<CChar>?,
    _ size: Int,
    _ count: Int,
    _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let context = unsafe context?.assumingMemoryBound(to: CallbackContext.self) else {
        return -1
    }
    let piece = unsafe UnsafeRawBufferPointer(start: bytes, count: count)
    let announced = unsafe announced(by: context.pointee.easy)
    let isWanted = unsafe piece.withMemoryRebound(to: UInt8.self) { piece in
        unsafe context.pointee.collector.addBody(piece.span, announced: announced)
    }
    return isWanted ? count : -1
}

/// The `Content-Length` of the response that is arriving.
private func announced(by easy: UnsafeMutableRawPointer) -> Int? {
    var length: curl_off_t = -1
    unsafe ccurl_get_offset(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length)
    return length < 0 ? nil : Int(length)
}

private func status(of easy: UnsafeMutableRawPointer) -> Int {
    var status = 0
    unsafe ccurl_get_long(easy, CURLINFO_RESPONSE_CODE, &status)
    return status
}
