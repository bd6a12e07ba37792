import Glibc

/// The kernel's name for this boot, `/proc/sys/kernel/random/boot_id`: stamps of `BootTime` compare only within one.
package struct BootID: Hashable, Sendable {
    package let bytes: [UInt8]

    /// Sixteen bytes, as found in a file.
    package init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// Whether `/proc` told it.
    package var isKnown: Bool { bytes.contains { $0 != 0 } }

    /// The running kernel's; all zeros where `/proc` does not tell, which compares unequal to every real one.
    package static func current() -> BootID {
        do throws(SystemError) {
            let file = try FileDescriptor(opening: "/proc/sys/kernel/random/boot_id", O_RDONLY)
            return BootID(bytes: hexadecimalBytes(of: try file.bytes(at: 0, count: 64)))
        } catch {
            return BootID(bytes: [UInt8](repeating: 0, count: 16))
        }
    }
}

private func hexadecimalBytes(of text: [UInt8]) -> [UInt8] {
    let digits = text.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
    guard digits.count == 32 else { return [UInt8](repeating: 0, count: 16) }
    return (0..<16).map { UInt8(digits[$0 * 2] << 4 | digits[$0 * 2 + 1]) }
}
