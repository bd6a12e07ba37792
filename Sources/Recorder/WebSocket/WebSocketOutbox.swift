import Posix

/// Frames that wait for the kernel to take them; clients share the bytes of one that all are sent.
struct WebSocketOutbox {
    private var frames: [[UInt8]] = []
    /// Of the first frame, how much was sent.
    private var sent = 0
    private(set) var byteCount = 0

    var isEmpty: Bool { frames.isEmpty }

    mutating func append(_ frame: [UInt8]) {
        frames.append(frame)
        byteCount += frame.count
    }

    /// Sends as much as the kernel takes; `false` when the connection is lost.
    mutating func send(to socket: borrowing Socket) -> Bool {
        while let frame = frames.first {
            switch socket.send(frame.span.extracting(droppingFirst: sent)) {
            case .moved(let count): took(count)
            case .wouldBlock: return true
            case .closed, .lost: return false
            }
        }
        return true
    }

    private mutating func took(_ count: Int) {
        sent += count
        byteCount -= count
        guard sent == frames[0].count else { return }
        frames.removeFirst()
        sent = 0
    }
}
