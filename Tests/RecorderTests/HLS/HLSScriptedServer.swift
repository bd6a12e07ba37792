import Foundation
import Glibc
import Posix
import Synchronization

/// An HTTP server on loopback that answers as a test tells it; each connection takes one request.
final class HLSScriptedServer: Sendable {
    struct Reply: Sendable {
        var status = 200
        var headers: [String: String] = [:]
        var body: [UInt8] = []
        /// `Content-Length`, where it is not the truth.
        var announced: Int?
        /// Whether the connection stays open, silent, until the client closes it.
        var holds = false

        static func text(_ text: String) -> Reply { Reply(body: Array(text.utf8)) }
        static func status(_ status: Int) -> Reply { Reply(status: status) }
        static func redirect(_ location: String) -> Reply {
            Reply(status: 302, headers: ["Location": location])
        }
    }

    /// The path and query asked for, and how often it was asked before.
    typealias Script = @Sendable (_ path: String, _ before: Int) -> Reply

    private let listener: FileDescriptor
    private let port: UInt16
    private let seen = Mutex<[String]>([])

    init(_ script: @escaping Script) throws {
        listener = FileDescriptor(adopting: socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0))
        port = try listen(on: listener)
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
    var requests: [String] { seen.withLock { $0 } }

    func url(_ path: String) -> URL {
        URL(string: "http://127.0.0.1:\(port)\(path)") ?? URL(filePath: "/")
    }

    private func serve(_ connection: consuming FileDescriptor, _ script: @escaping Script) {
        let descriptor = dup(connection.rawValue)
        Thread.detachNewThread { [weak self] in
            let connection = FileDescriptor(adopting: descriptor)
            guard let path = readPath(connection), let reply = self?.reply(to: path, script) else {
                return
            }
            send(reply, to: connection)
        }
    }

    private func reply(to path: String, _ script: Script) -> Reply {
        let before = seen.withLock { seen in
            defer { seen.append(path) }
            return seen.count { $0 == path }
        }
        return script(path, before)
    }
}

private func listen(on listener: borrowing FileDescriptor) throws(SystemError) -> UInt16 {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    try withUnsafeMutablePointer(to: &address) { pointer throws(SystemError) in
        try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            address throws(SystemError) in
            try retrying("bind") { bind(listener.rawValue, address, length) }
            try retrying("listen") { Glibc.listen(listener.rawValue, 64) }
            try retrying("getsockname") { getsockname(listener.rawValue, address, &length) }
        }
    }
    return UInt16(bigEndian: address.sin_port)
}

/// The target of a GET request, once its head is complete.
private func readPath(_ connection: borrowing FileDescriptor) -> String? {
    var head: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while !head.suffix(4).elementsEqual("\r\n\r\n".utf8) {
        let count = recv(connection.rawValue, &buffer, buffer.count, 0)
        guard count > 0 else { return nil }
        head += buffer[..<count]
    }
    return String(decoding: head, as: UTF8.self).split(separator: " ").dropFirst().first.map(
        String.init
    )
}

private func send(_ reply: HLSScriptedServer.Reply, to connection: borrowing FileDescriptor) {
    var headers = reply.headers
    headers["Content-Length"] = "\(reply.announced ?? reply.body.count)"
    headers["Connection"] = "close"
    let fields = headers.map { "\($0.key): \($0.value)\r\n" }.joined()
    let bytes = Array("HTTP/1.1 \(reply.status) Scripted\r\n\(fields)\r\n".utf8) + reply.body
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
    var byte: UInt8 = 0
    while reply.holds, recv(connection.rawValue, &byte, 1, 0) > 0 {}
}
