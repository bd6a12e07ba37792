import FuzzSupport
import HTTP

@testable import WebSocket

/// Handshakes and frames; which of them is told by the first letter.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzWebSocket(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = input(start, count)
    if bytes.first == UInt8(ascii: "G") {
        shake(bytes)
    } else {
        readAnything(bytes)
        readMessages(bytes)
        converse(bytes)
    }
    return 0
}

/// Any request is answered; a 101 proves that its key was read.
private func shake(_ bytes: [UInt8]) {
    guard let request = request(in: bytes) else { return }
    let handshake = WebSocketHandshake(allowedOrigins: ["https://dashboard.example.org"])
    let answer = handshake.answer(request)
    guard answer.status == .switchingProtocols else {
        return require([400, 403, 405, 426].contains(answer.status.code), "a refusal")
    }
    let keys = request.headers("Sec-WebSocket-Key")
    require(keys.count == 1 && keys[0].utf8.count == 24, "one key of 16 bytes")
    let acceptance = WebSocketHandshake.acceptance(of: keys[0])
    require(answer.headers.contains { $0.value == acceptance }, "the key was read")
    let host = request.header("Host")?.lowercased() ?? ""
    let allowed = ["https://dashboard.example.org", "http://\(host)", "https://\(host)"]
    require(request.headers("Origin").allSatisfy(allowed.contains), "an allowed origin")
}

/// Any bytes give events or a close: the same, however they arrive.
private func readAnything(_ bytes: [UInt8]) {
    let reading = Reading(of: [bytes])
    require(Reading(of: pieces(of: bytes)) == reading, "independent of the pieces")
    require(Reading(of: bytes.map { [$0] }) == reading, "independent of the pieces")
    require((reading.close?.payload.count ?? 0) <= 125, "a Close fits a control frame")
    require(reading.events.allSatisfy(\.isBounded), "within the limit: \(reading.events)")
}

/// Frames that a client made of these bytes are read as what it meant.
private func readMessages(_ bytes: [UInt8]) {
    let script = ClientScript(bytes)
    let reading = Reading(of: pieces(of: script.frames))
    require(reading.events == script.events && reading.close == nil, "\(script.events)")
}

/// What a reader makes of bytes that arrive in pieces.
struct Reading: Equatable {
    static let limit = 300

    var events: [WebSocketReader.Event] = []
    var close: WebSocketClose?

    init(of pieces: [[UInt8]]) {
        var reader = WebSocketReader(limit: Self.limit)
        for piece in pieces {
            reader.append(piece)
            do throws(WebSocketClose) {
                while let event = try reader.next() { events.append(event) }
            } catch {
                close = error
                return
            }
        }
    }
}

extension WebSocketReader.Event {
    fileprivate var isBounded: Bool {
        switch self {
        case .text(let text): text.utf8.count <= Reading.limit
        case .binary(let bytes): bytes.count <= Reading.limit
        case .ping(let bytes), .pong(let bytes): bytes.count <= 125
        case .close(let close): (close?.reason.utf8.count ?? 0) <= 123
        }
    }
}
