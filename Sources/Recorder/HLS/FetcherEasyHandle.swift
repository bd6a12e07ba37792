import CCurl
import Foundation
import Posix

/// Owns an easy handle: the options of requests, and what is known of the last answer.
@safe struct EasyHandle: ~Copyable {
    /// So many cookies are kept: libcurl sends no more, and an origin that sets more is not to fill the memory.
    private static let cookieLimit = 150
    /// Whether libcurl is ready; a static property is made once, whichever thread asks first.
    private static let isReady = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    private let handle: UnsafeMutableRawPointer
    /// Where libcurl writes about what went wrong.
    private let message: UnsafeMutableBufferPointer<CChar>
    private let headers: HeaderList

    /// `headers` go with every request.
    init(headers: [String: String]) throws(FetchError) {
        let headers = try HeaderList(headers)
        guard Self.isReady, let handle = unsafe curl_easy_init() else {
            throw .network("libcurl does not start")
        }
        unsafe self.handle = handle
        unsafe message = .allocate(capacity: Int(CURL_ERROR_SIZE))
        unsafe message.initialize(repeating: 0)
        self.headers = headers
    }

    deinit {
        unsafe curl_easy_cleanup(handle)
        unsafe message.deallocate()
    }

    /// Sets what all requests have in common; a throwing `init` could not, once the handle is its own.
    func configure() throws(FetchError) {
        try set(CURLOPT_PROTOCOLS_STR, "http,https")
        try set(CURLOPT_FOLLOWLOCATION, 0)
        try set(CURLOPT_NOSIGNAL, 1)
        // The end of a transfer does not wait for a name that is being looked up.
        try set(CURLOPT_QUICK_EXIT, 1)
        // One request at a time gains nothing from HTTP/2.
        try set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        try set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        // No file to read cookies from, but memory to keep them.
        try set(CURLOPT_COOKIEFILE, "")
        try set(CURLOPT_USERAGENT, "streamvault-recorder/\(Main.version)")
        // A segment is written as it was sent; should a server compress all the same, it is not unpacked.
        try set(CURLOPT_ACCEPT_ENCODING, "identity")
        try set(CURLOPT_HTTP_CONTENT_DECODING, 0)
        try unsafe set(CURLOPT_ERRORBUFFER, message.baseAddress)
        try unsafe headers.withPointer { list throws(FetchError) in
            try unsafe set(CURLOPT_HTTPHEADER, list)
        }
        try check(unsafe ccurl_set_callback(handle, CURLOPT_HEADERFUNCTION, takeHeadLine))
        try check(unsafe ccurl_set_callback(handle, CURLOPT_WRITEFUNCTION, takeBody))
    }

    /// Lends the handle to `drive`, aimed at `url`; what comes meanwhile goes into `exchange`.
    ///
    /// `drive` can ask whether the exchange is settled.
    func transfer<Value>(
        _ url: URL,
        into exchange: inout Exchange,
        timeout: Duration,
        _ drive: (UnsafeMutableRawPointer, () -> Bool) throws(FetchError) -> Value
    ) throws(FetchError) -> Value {
        try set(CURLOPT_URL, url.absoluteString)
        // Known to libcurl too, so that it leaves time for the next address of a host whose first one is silent.
        let milliseconds = Int(clamping: timeout.wholeNanoseconds / 1_000_000)
        try set(CURLOPT_TIMEOUT_MS, max(1, milliseconds))
        unsafe message[0] = 0
        var intake = unsafe Intake(easy: handle, exchange: exchange)
        defer { exchange = unsafe intake.exchange }
        return try unsafe withUnsafeMutablePointer(to: &intake) { intake throws(FetchError) in
            try unsafe set(CURLOPT_HEADERDATA, intake)
            try unsafe set(CURLOPT_WRITEDATA, intake)
            return try unsafe drive(handle) { unsafe intake.pointee.exchange.isSettled }
        }
    }

    /// The `Location` of the last answer.
    var location: String? {
        var header: UnsafeMutablePointer<curl_header>?
        let origin = CUnsignedInt(CURLH_HEADER)
        let code = unsafe curl_easy_header(handle, "Location", 0, origin, -1, &header)
        guard code == CURLHE_OK, let value = unsafe header?.pointee.value else { return nil }
        return unsafe String(cString: value)
    }

    /// The `Content-Length` of the last answer.
    var announcedBytes: Int? { unsafe announced(by: handle) }

    /// What went wrong, without the query of an address, and without what would break a line of the log.
    func text(of result: CURLcode) -> String {
        let detail = unsafe message.baseAddress.map { unsafe String(cString: $0) } ?? ""
        let text = detail.isEmpty ? unsafe String(cString: curl_easy_strerror(result)) : detail
        let printable = text.unicodeScalars.map { scalar in
            scalar.properties.generalCategory == .control || scalar == "\"" ? "'" : scalar
        }
        return withoutQueries(String(String.UnicodeScalarView(printable)))
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
