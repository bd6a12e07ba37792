import CCurl
import FoundationEssentials
import Posix

/// Owns a multi handle: it drives transfers without blocking, and keeps connections from one to the next.
@safe struct MultiHandle: ~Copyable {
    private let handle: UnsafeMutableRawPointer

    init() throws(FetchError) {
        guard let handle = unsafe curl_multi_init() else { throw .network("libcurl: no memory") }
        unsafe self.handle = handle
    }

    /// Takes over a handle, which need not work.
    init(adopting handle: UnsafeMutableRawPointer) {
        unsafe self.handle = handle
    }

    deinit { unsafe curl_multi_cleanup(handle) }

    func add(_ easy: EasyHandle) throws(FetchError) {
        try check(unsafe easy.withHandle { unsafe curl_multi_add_handle(handle, $0) })
    }

    /// Ends the transfer, wherever it is.
    func remove(_ easy: EasyHandle) {
        _ = unsafe easy.withHandle { unsafe curl_multi_remove_handle(handle, $0) }
    }

    /// Does what can be done without waiting; the transfers that have ended, by their handles, and how.
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

/// Owns the lines of a head that are sent beside libcurl's own.
@safe struct HeaderList: ~Copyable {
    private var first: UnsafeMutablePointer<curl_slist>?

    init(_ headers: [String: String]) throws(FetchError) {
        unsafe first = nil
        for (name, value) in headers {
            // A name without a value ends in a semicolon; with a colon, libcurl would not send it.
            let line = value.isEmpty ? "\(name);" : "\(name): \(value)"
            // A line feed, such as a file with a secret ends in, would begin a line of its own.
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

/// Owns the cookies that handles have in common; all of them on one thread, so that nothing is locked.
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
