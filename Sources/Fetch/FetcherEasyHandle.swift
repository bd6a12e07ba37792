import CCurl
import FoundationEssentials
import Posix

/// Owns an easy handle: the options of requests, and what is known of the last answer.
@safe final class EasyHandle {
    /// So many cookies are kept: libcurl sends no more, and an origin that sets more is not to fill the memory.
    private static let cookieLimit = 150
    /// Whether libcurl is ready; a static property is made once, whichever thread asks first.
    private static let isReady = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    private let handle: UnsafeMutableRawPointer
    /// Where libcurl writes about what went wrong.
    private let message: UnsafeMutableBufferPointer<CChar>
    /// What its callbacks fill.
    private let intake: UnsafeMutablePointer<Intake>
    private let headers: HeaderList
    /// Kept as long as the handle uses it.
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
        unsafe intake = .allocate(capacity: 1)
        unsafe intake.initialize(to: Intake(easy: handle, exchange: Exchange(limit: 0)))
        self.headers = headers
        self.cookies = cookies
        try configure(userAgent: userAgent)
    }

    deinit {
        unsafe curl_easy_cleanup(handle)
        unsafe message.deallocate()
        unsafe intake.deinitialize(count: 1)
        unsafe intake.deallocate()
    }

    /// Sets what all requests have in common.
    private func configure(userAgent: String) throws(FetchError) {
        try set(CURLOPT_PROTOCOLS_STR, "http,https")
        try set(CURLOPT_FOLLOWLOCATION, 0)
        try set(CURLOPT_NOSIGNAL, 1)
        // The end of a transfer does not wait for a name that is being looked up.
        try set(CURLOPT_QUICK_EXIT, 1)
        // A few requests at a time gain nothing from HTTP/2.
        try set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        try set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        // No file to read cookies from, but memory to keep them.
        try set(CURLOPT_COOKIEFILE, "")
        try set(CURLOPT_USERAGENT, userAgent)
        // A segment is written as it was sent; should a server compress all the same, it is not unpacked.
        try set(CURLOPT_ACCEPT_ENCODING, "identity")
        try set(CURLOPT_HTTP_CONTENT_DECODING, 0)
        try unsafe set(CURLOPT_ERRORBUFFER, message.baseAddress)
        try unsafe headers.withPointer { list throws(FetchError) in
            try unsafe set(CURLOPT_HTTPHEADER, list)
        }
        try check(unsafe ccurl_set_callback(handle, CURLOPT_HEADERFUNCTION, takeHeadLine))
        try check(unsafe ccurl_set_callback(handle, CURLOPT_WRITEFUNCTION, takeBody))
        try check(unsafe ccurl_set_opensocket(handle, openSocket))
        try check(unsafe ccurl_set_prereq(handle, judgeConnection))
        try unsafe set(CURLOPT_OPENSOCKETDATA, intake)
        try unsafe set(CURLOPT_PREREQDATA, intake)
        try unsafe set(CURLOPT_HEADERDATA, intake)
        try unsafe set(CURLOPT_WRITEDATA, intake)
        try unsafe cookies.withPointer { share throws(FetchError) in
            try unsafe set(CURLOPT_SHARE, share)
        }
    }

    /// Aims at `url`, and takes what comes from there into `exchange`.
    func aim(
        at url: URL,
        _ request: FetchRequest,
        timeout: Duration,
        into exchange: Exchange
    ) throws(FetchError) {
        try set(CURLOPT_URL, url.absoluteString)
        let range = request.range.map { "\($0.offset)-\($0.end - 1)" }
        try check(unsafe ccurl_set_string(handle, CURLOPT_RANGE, range))
        // Known to libcurl too, so that it leaves time for the next address of a host whose first one is silent.
        try set(CURLOPT_TIMEOUT_MS, max(1, Int(clamping: timeout.wholeNanoseconds / 1_000_000)))
        try set(CURLOPT_LOW_SPEED_LIMIT, 1000)
        try set(CURLOPT_LOW_SPEED_TIME, Int(request.limits.stall.components.seconds))
        unsafe message[0] = 0
        unsafe intake.pointee.exchange = exchange
    }

    /// Sets who is connected to for the next request: `proxy`, or `nil` for the server itself.
    ///
    /// Without this it is libcurl that looks at the environment.
    func connect(through proxy: String?, _ check: ConnectionCheck) throws(FetchError) {
        try set(CURLOPT_PROXY, proxy ?? "")
        try set(CURLOPT_NOPROXY, "")
        unsafe intake.pointee.connection = check
    }

    /// What became of the connection.
    var connection: ConnectionCheck { unsafe intake.pointee.connection }

    /// Sets what is sent besides the head; the handle then serves that one request.
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

    /// What has come so far.
    var exchange: Exchange { unsafe intake.pointee.exchange }

    /// Lets go of what has come.
    func forget() { unsafe intake.pointee.exchange = Exchange(limit: 0) }

    /// What a multi handle knows it by.
    var identity: UInt { unsafe UInt(bitPattern: handle) }

    /// Lends the handle, for calls that are not its own.
    func withHandle(_ body: (UnsafeMutableRawPointer) -> CURLMcode) -> CURLMcode {
        unsafe body(handle)
    }

    /// The number of the first byte in the last answer, by its `Content-Range: bytes 0-9/100`.
    var firstOfContentRange: Int? {
        guard let value = header("Content-Range")?.lowercased(), value.hasPrefix("bytes ") else {
            return nil
        }
        return decimal(value.dropFirst(6).prefix { $0 != "-" })
    }

    /// The `Location` of the last answer.
    var location: String? { header("Location") }

    /// The first value of a field of the last answer.
    func header(_ name: String) -> String? {
        var header: UnsafeMutablePointer<curl_header>?
        let origin = CUnsignedInt(CURLH_HEADER)
        let code = unsafe curl_easy_header(handle, name, 0, origin, -1, &header)
        guard code == CURLHE_OK, let value = unsafe header?.pointee.value else { return nil }
        return unsafe String(cString: value)
    }

    /// The `Content-Length` of the last answer.
    var announcedBytes: Int? { unsafe announced(by: handle) }

    /// What went wrong, without what is secret in an address, and without what would break a line of the log.
    func text(of result: CURLcode) -> String {
        let detail = unsafe message.baseAddress.map { unsafe String(cString: $0) } ?? ""
        let text = detail.isEmpty ? unsafe String(cString: curl_easy_strerror(result)) : detail
        let printable = text.unicodeScalars.map { scalar in
            scalar.properties.generalCategory == .control || scalar == "\"" ? "'" : scalar
        }
        return redacted(String(String.UnicodeScalarView(printable)))
    }

    /// Forgets all cookies when there are too many.
    func boundCookies() {
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
