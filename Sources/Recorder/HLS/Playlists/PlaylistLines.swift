import Fetch
import Posix

/// The lines of a playlist that say something (RFC 8216, section 4.1), one after the other.
struct PlaylistLines {
    enum Line: Equatable {
        /// `#EXT…`, its name without the `#`, and what follows its colon.
        case tag(String, value: Substring)
        /// As written; not yet known to be an address.
        case address(String)
    }

    private var rest: ArraySlice<UInt8>
    /// Of the latest line, counted from 1.
    private(set) var number = 0
    private var isAtEnd = false
    private let stop: StopSignal?

    /// - Throws: `.tooLarge`, or `.notAPlaylist` when the first line is not `#EXTM3U`.
    init(_ bytes: [UInt8], limit: Int, until stop: StopSignal? = nil) throws(PlaylistError) {
        rest = bytes[...]
        self.stop = stop
        guard bytes.count <= limit else {
            throw PlaylistError(line: 0, reason: .tooLarge(limit: limit))
        }
        guard let first = nextLine(), first.elementsEqual("#EXTM3U".utf8) else {
            throw error(.notAPlaylist)
        }
    }

    /// The next tag or address; blank lines and comments are passed over.
    mutating func next() throws(PlaylistError) -> Line? {
        while let line = nextLine() {
            if number % 256 == 0, stop?.isRequested ?? false { throw error(.stopped) }
            if line.starts(with: "#EXT".utf8) { return tag(String(decoding: line, as: UTF8.self)) }
            guard let first = line.first, first != UInt8(ascii: "#") else { continue }
            guard let address = String(validating: line, as: UTF8.self) else {
                throw error(.addressRefused(.malformed))
            }
            return .address(address)
        }
        return nil
    }

    func error(_ reason: PlaylistError.Reason) -> PlaylistError {
        PlaylistError(line: number, reason: reason)
    }

    private func tag(_ text: String) -> Line {
        let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) ?? text.endIndex
        return .tag(String(text[..<colon].dropFirst()), value: text[colon...].dropFirst())
    }

    /// The next line without its end and the blanks before that; `nil` after the last.
    private mutating func nextLine() -> ArraySlice<UInt8>? {
        guard !isAtEnd else { return nil }
        number += 1
        let end = rest.firstIndex(of: UInt8(ascii: "\n"))
        let line = rest[..<(end ?? rest.endIndex)]
        isAtEnd = end == nil
        rest = end.map { rest[($0 + 1)...] } ?? []
        let last = line.lastIndex { $0 != UInt8(ascii: "\r") && $0 != UInt8(ascii: " ") }
        return line[..<(last.map { $0 + 1 } ?? line.startIndex)]
    }
}
