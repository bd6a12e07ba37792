import Glibc

/// The variables that the process was started with, from `/proc/self/environ`; without `/proc`, none.
package func processEnvironment() -> [String: String] {
    guard let file = try? FileDescriptor(opening: "/proc/self/environ", O_RDONLY),
        let bytes = try? file.bytes(at: 0, count: 1 << 20)
    else { return [:] }
    var variables: [String: String] = [:]
    for entry in bytes.split(separator: 0) {
        let parts = entry.split(
            separator: UInt8(ascii: "="),
            maxSplits: 1,
            omittingEmptySubsequences: false
        )
        guard parts.count == 2 else { continue }
        variables[String(decoding: parts[0], as: UTF8.self)] = String(
            decoding: parts[1],
            as: UTF8.self
        )
    }
    return variables
}
