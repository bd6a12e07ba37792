import Glibc
import Posix

@testable import Media
@testable import Recorder

/// A file without a name, used again and again.
private let file: FileDescriptor = {
    do throws(SystemError) {
        let path = "/tmp/fuzz-media-\(getpid())"
        let file = try FileDescriptor(opening: path, O_RDWR | O_CREAT | O_EXCL)
        unlink(path)
        return file
    } catch {
        fatalError("\(error)")
    }
}()

/// What a recovery keeps of a file with these bytes.
func completeLength(of bytes: [UInt8], _ container: MediaContainer) throws(SystemError) -> Int {
    try file.truncate(to: 0)
    lseek(file.rawValue, 0, SEEK_SET)
    try file.writeAll(bytes.span)
    return try container.completeLength(of: file)
}
