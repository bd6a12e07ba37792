import Glibc
import Posix
import Testing

@Suite("A file's time of change")
struct FileTimesTests {
    @Test(
        "is within what 64 bits of nanoseconds hold, whatever somebody has set",
        arguments: [
            (-5, 0), (0, 0), (1_700_000_000, 1_700_000_000), (18_446_744_073, 18_446_744_072),
            (20_000_000_000, 18_446_744_072), (Int.max, 18_446_744_072),
        ] as [(Int, UInt64)]
    )
    func bounds(_ seconds: Int, _ shown: UInt64) {
        var status = stat()
        status.st_mtim.tv_sec = seconds
        status.st_mtim.tv_nsec = 999_999_999
        #expect(status.modifiedAt.nanoseconds / 1_000_000_000 == shown)
    }
}
