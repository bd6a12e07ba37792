import Glibc
import Posix
import Testing

@Suite("Files")
struct FileTests {
    /// What a path gives within 50 ms, up to 1,000 bytes.
    private func content(_ path: String) throws(SystemError) -> String {
        let deadline = BootTime.now().advanced(by: .milliseconds(50))
        let bytes = try FileDescriptor.content(of: path, atMost: 1000, until: deadline)
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test(
        "a path that names no file is read within bounds",
        arguments: [
            ("/dev/zero", EFBIG), ("/", EISDIR), ("/dev/no-such-device", ENOENT),
        ]
    )
    func bounds(_ path: String, _ code: CInt) throws {
        let error = try #require(throws: SystemError.self) { try content(path) }
        #expect(error.code == code)
        #expect(error.call.contains(path))
    }

    @Test("a pipe is read to its end, and waited for no longer than is said")
    func pipes() throws {
        let path = "/tmp/streamvault-pipe-\(UInt64.random(in: .min ... .max))"
        try retrying("mkfifo") { mkfifo(path, 0o600) }
        defer { unlink(path) }
        let nobody = try #require(throws: SystemError.self) { try content(path) }
        #expect(nobody.code == ETIMEDOUT)
        // Readable and writable, an open FIFO waits for nobody.
        let writer = try FileDescriptor(opening: path, O_RDWR)
        try writer.writeAll(Array("{}".utf8).span)
        let unfinished = try #require(throws: SystemError.self) { try content(path) }
        #expect(unfinished.code == ETIMEDOUT)
        _ = consume writer
        let shell = try Subprocess.spawn(["sh", "-c", "printf 'of a pipe' > \(path)"])
        let text = try String(
            decoding: FileDescriptor.content(
                of: path,
                atMost: 1000,
                until: .now().advanced(by: .seconds(60))
            ),
            as: UTF8.self
        )
        #expect(text == "of a pipe")
        withExtendedLifetime(shell.identifier) {}
    }
}
