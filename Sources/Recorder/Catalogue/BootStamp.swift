import Posix

/// A moment of a boot of the kernel: two of the same boot compare exactly, whatever happened to the calendar's clock.
struct BootStamp: Equatable, Sendable {
    /// The boot's id, in hexadecimal digits.
    let boot: String
    let time: BootTime

    /// `nil` where the kernel does not tell its boot's id.
    static func now() -> BootStamp? {
        currentBoot.map { BootStamp(boot: $0, time: .now()) }
    }

    /// Time since `earlier`, or zero; `nil` when that is of another boot.
    func since(_ earlier: BootStamp) -> Duration? {
        boot == earlier.boot ? time.since(earlier.time) : nil
    }

    private static let currentBoot: String? = {
        let bytes = BootID.current().bytes
        guard bytes.contains(where: { $0 != 0 }) else { return nil }
        return bytes.map { String(Int($0) + 0x100, radix: 16).dropFirst() }.joined()
    }()
}
