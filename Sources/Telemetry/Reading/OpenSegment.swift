import Glibc
import Posix

/// A segment's file that is open, and what was last read of it.
final class OpenSegment {
    private static let attempts = 1000

    let file: FileDescriptor
    private let device: dev_t
    private let inode: ino_t
    /// The records, and the count of changes at which they were read.
    private var known: (changes: UInt64, wordsOffset: Int, contents: SegmentContents)?

    init(_ file: consuming FileDescriptor) throws(SystemError) {
        let status = try file.status()
        (device, inode) = (status.st_dev, status.st_ino)
        self.file = file
    }

    func isFile(_ status: stat) -> Bool {
        status.st_dev == device && status.st_ino == inode
    }

    /// The records, and at least as many words as they refer to.
    func read() throws(SegmentError) -> (SegmentContents, [UInt64]) {
        if let known {
            let words = try read(known.contents.fileWords, at: known.wordsOffset)
            if words[SegmentWord.change] == known.changes { return (known.contents, words) }
        }
        return try readWhole()
    }

    /// Reads until nothing changed meanwhile, or until every record that is read holds for itself, a bounded number of times.
    private func readWhole() throws(SegmentError) -> (SegmentContents, [UInt64]) {
        var failure = SegmentError.notASegment
        for attempt in 1...Self.attempts {
            do throws(SegmentError) {
                let bytes = try copyOfFile()
                let header = try SegmentHeader(bytes)
                let contents = SegmentContents(try SegmentParts(bytes))
                let words = try read(contents.fileWords, at: header.layout[.words].offset)
                let changes = wordsOf(bytes, at: header.layout[.words].offset, count: 1)[0]
                guard changes == words[SegmentWord.change] || attempt == Self.attempts else {
                    continue
                }
                let isSettled = changes % 2 == 0 && changes == words[SegmentWord.change]
                known = isSettled ? (changes, header.layout[.words].offset, contents) : nil
                return (contents, words)
            } catch {
                guard case .damaged = error else { throw error }
                failure = error  // Perhaps caught half-written.
            }
        }
        throw failure
    }

    private func copyOfFile() throws(SegmentError) -> [UInt8] {
        let status = try SegmentError.wrapping { () throws(SystemError) in try file.status() }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .notASegment }
        guard status.st_size <= SegmentLayout.largestFile else { throw .tooLarge }
        return try SegmentError.wrapping { () throws(SystemError) in
            try file.firstBytes(limit: Int(status.st_size))
        }
    }

    private func read(_ count: Int, at offset: Int) throws(SegmentError) -> [UInt64] {
        var bytes = [UInt8](repeating: 0, count: count * 8)
        let filled = try SegmentError.wrapping { () throws(SystemError) in
            try file.read(into: &bytes, at: offset)
        }
        guard filled == bytes.count else { throw .truncated }
        return wordsOf(bytes, at: 0, count: count)
    }
}

private func wordsOf(_ bytes: [UInt8], at offset: Int, count: Int) -> [UInt64] {
    unsafe bytes.withUnsafeBytes { bytes in
        (0..<count).map {
            UInt64(
                littleEndian: unsafe bytes.loadUnaligned(
                    fromByteOffset: offset + $0 * 8,
                    as: UInt64.self
                )
            )
        }
    }
}
