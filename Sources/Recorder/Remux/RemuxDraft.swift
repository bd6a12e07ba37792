import Glibc
import Media
import Posix

/// Owns the file that a conversion writes, under a name that nobody can foresee; removed when dropped.
///
/// Locked as long as it is used, so that a start can tell it from what a kill has left.
struct RemuxDraft: ~Copyable {
    let path: String
    let file: FileDescriptor
    private let name: RecordingName

    private static let suffix = ".remux"

    init(of name: RecordingName) throws(SystemError) {
        let number = UInt64.random(in: 0 ... .max)  // Of the kernel's random numbers.
        path = "\(name.directory)/.\(name.stem).\(String(number, radix: 16))\(Self.suffix)"
        file = try FileDescriptor(opening: path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW)
        self.name = name
        _ = try? file.tryExclusiveLock()
    }

    deinit { try? FileSystem.unlink(path) }

    /// Gives the synced file its final name.
    ///
    /// - Returns: the product.
    /// - Throws: also when the name now refers to another file: somebody replaced the draft.
    borrowing func publish() throws(SystemError) -> StoredFile {
        try file.synchronize()
        let held = try file.status()
        let final = try name.publish(path)
        let named = try FileSystem.linkStatus(of: final)
        guard held.st_ino == named.st_ino, held.st_dev == named.st_dev else {
            throw SystemError(
                call: "\(final) is not the file that was converted: link",
                code: ESTALE
            )
        }
        return StoredFile(path: final, bytes: Int(held.st_size))
    }

    /// Whether this is the name of a draft; those of former versions are named `STEM.mp4.remux`.
    static func isDraft(_ name: String) -> Bool {
        guard name.hasSuffix(suffix) else { return false }
        var fields = name.dropLast(suffix.count).split(
            separator: ".",
            omittingEmptySubsequences: false
        )
        let last = fields.popLast()
        if fields.count == 2, fields[0].isEmpty {
            let number = last.flatMap { UInt64($0, radix: 16) }
            guard let number, last.map(String.init) == String(number, radix: 16) else {
                return false
            }
            fields.removeFirst()
        } else if last != "mp4" {
            return false
        }
        return fields.count == 1 && RecordingName(finalName: "\(fields[0]).mp4", in: "") != nil
    }

    /// Removes the drafts in `directory` that nobody has locked.
    static func removeLeftovers(in directory: String) {
        for name in (try? FileSystem.entries(of: directory)) ?? [] where isDraft(name) {
            let path = "\(directory)/\(name)"
            let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
            guard let file = try? FileDescriptor(opening: path, flags),
                let status = try? file.status(), status.st_mode & S_IFMT == S_IFREG,
                (try? file.tryExclusiveLock()) == true
            else { continue }
            try? FileSystem.unlink(path)
        }
    }
}
