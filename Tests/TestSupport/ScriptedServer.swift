package import Foundation
import Glibc
package import Posix
import Synchronization

/// An HTTP server on loopback that answers as a test tells it.
package final class ScriptedServer: Sendable {
    package struct Reply: Sendable {
        package var status = 200
        package var headers: [String: String] = [:]
        package var body: [UInt8] = []
        /// `Content-Length`, where it is not the truth.
        package var announced: Int?
        /// Whether the connection stays open, silent, until the client closes it.
        package var holds = false
        /// Whether the connection takes another request afterwards.
        package var keepsOpen = false
        /// Whether a request for a range gets a 206 with that part of the body; else it is not understood.
        package var knowsRanges = false
        /// All that is sent, instead of the above.
        package var raw: [UInt8]?
        /// Called when all is sent, before the connection is held open or closed.
        package var whenSent: (@Sendable () -> Void)?

        package init(
            status: Int = 200,
            headers: [String: String] = [:],
            body: [UInt8] = [],
            announced: Int? = nil,
            holds: Bool = false,
            keepsOpen: Bool = false,
            knowsRanges: Bool = false,
            raw: [UInt8]? = nil,
            whenSent: (@Sendable () -> Void)? = nil
        ) {
            (self.status, self.headers, self.body) = (status, headers, body)
            (self.announced, self.holds, self.keepsOpen) = (announced, holds, keepsOpen)
            (self.knowsRanges, self.raw, self.whenSent) = (knowsRanges, raw, whenSent)
        }

        package static func text(_ text: String) -> Reply { Reply(body: Array(text.utf8)) }
        package static func status(_ status: Int) -> Reply { Reply(status: status) }
        package static func redirect(_ location: String) -> Reply {
            Reply(status: 302, headers: ["Location": location])
        }
    }

    /// The path and query asked for, and how often it was asked before.
    package typealias Script = @Sendable (_ path: String, _ before: Int) -> Reply

    private let listener: FileDescriptor
    private let port: UInt16
    private let seen = Mutex<[String]>([])
    private let heads = Mutex<[String]>([])
    private let accepted = Atomic(0)

    package init(_ script: @escaping Script) throws {
        listener = FileDescriptor(adopting: socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0))
        port = try listen(on: listener, backlog: 64)
        let descriptor = listener.rawValue
        Thread.detachNewThread { [weak self] in
            while true {
                let connection = accept(descriptor, nil, nil)
                guard connection >= 0 else { return }
                let owned = FileDescriptor(adopting: connection)
                guard let self else { return }
                self.serve(owned, script)
            }
        }
    }

    deinit { shutdown(listener.rawValue, CInt(SHUT_RDWR)) }

    /// The paths asked for, in order.
    package var requests: [String] { seen.withLock { $0 } }

    /// The heads of the requests, in order.
    package var requestHeads: [String] { heads.withLock { $0 } }

    /// The connections taken so far.
    package var connections: Int { accepted.load(ordering: .acquiring) }

    package func url(_ path: String) -> URL {
        URL(string: "http://127.0.0.1:\(port)\(path)") ?? URL(filePath: "/")
    }

    private func serve(_ connection: consuming FileDescriptor, _ script: @escaping Script) {
        let descriptor = dup(connection.rawValue)
        accepted.add(1, ordering: .acquiringAndReleasing)
        Thread.detachNewThread { [weak self] in
            let connection = FileDescriptor(adopting: descriptor)
            while let head = readHead(connection), let reply = self?.reply(to: head, script) {
                send(reply, to: connection)
                guard reply.keepsOpen else { return }
            }
        }
    }

    private func reply(to head: String, _ script: Script) -> Reply {
        let path = head.split(separator: " ").dropFirst().first.map(String.init) ?? ""
        heads.withLock { $0.append(head) }
        let before = seen.withLock { seen in
            defer { seen.append(path) }
            return seen.count { $0 == path }
        }
        return script(path, before).part(for: head)
    }
}

extension ScriptedServer.Reply {
    /// What a request with this head gets of the body.
    fileprivate func part(for head: String) -> Self {
        guard knowsRanges, let match = head.firstMatch(of: /Range: bytes=(\d+)-(\d+)/),
            let first = Int(match.1), let last = Int(match.2), first < body.count
        else { return self }
        var part = self
        part.status = 206
        part.body = Array(body[first...min(last, body.count - 1)])
        part.headers["Content-Range"] =
            "bytes \(first)-\(first + part.body.count - 1)/\(body.count)"
        return part
    }
}

/// Binds to a free port of loopback and listens; the port.
package func listen(
    on listener: borrowing FileDescriptor,
    backlog: CInt
) throws(SystemError) -> UInt16 {
    let descriptor = listener.rawValue
    return try onLoopback(0) { address, length throws(SystemError) in
        var length = length
        try retrying("bind") { bind(descriptor, address, length) }
        try retrying("listen") { Glibc.listen(descriptor, backlog) }
        try retrying("getsockname") { getsockname(descriptor, address, &length) }
    }
}

/// Hands `body` an address of loopback; the port that stands in it afterwards.
@discardableResult
package func onLoopback(
    _ port: UInt16,
    _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) throws(SystemError) -> Void
) throws(SystemError) -> UInt16 {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let length = socklen_t(MemoryLayout<sockaddr_in>.size)
    try withUnsafeMutablePointer(to: &address) { pointer throws(SystemError) in
        try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            address throws(SystemError) in
            try body(address, length)
        }
    }
    return UInt16(bigEndian: address.sin_port)
}

/// The head of a GET request, once it is complete.
private func readHead(_ connection: borrowing FileDescriptor) -> String? {
    var head: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while !head.suffix(4).elementsEqual("\r\n\r\n".utf8) {
        let count = recv(connection.rawValue, &buffer, buffer.count, 0)
        guard count > 0 else { return nil }
        head += buffer[..<count]
    }
    return String(decoding: head, as: UTF8.self)
}

private func send(_ reply: ScriptedServer.Reply, to connection: borrowing FileDescriptor) {
    let bytes = reply.raw ?? head(of: reply) + reply.body
    var sent = 0
    while sent < bytes.count {
        let count = bytes.withUnsafeBytes {
            Glibc.send(
                connection.rawValue,
                $0.baseAddress.map { $0 + sent },
                bytes.count - sent,
                CInt(MSG_NOSIGNAL)
            )
        }
        guard count > 0 else { return }
        sent += count
    }
    reply.whenSent?()
    var byte: UInt8 = 0
    while reply.holds, recv(connection.rawValue, &byte, 1, 0) > 0 {}
}

private func head(of reply: ScriptedServer.Reply) -> [UInt8] {
    var headers = reply.headers
    headers["Content-Length"] = "\(reply.announced ?? reply.body.count)"
    headers["Connection"] = reply.keepsOpen ? "keep-alive" : "close"
    let fields = headers.map { "\($0.key): \($0.value)\r\n" }.joined()
    return Array("HTTP/1.1 \(reply.status) Scripted\r\n\(fields)\r\n".utf8)
}
