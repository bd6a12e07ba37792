import CLinux
import Glibc

/// The variables that the process was started with; the values of secrets are overwritten where the kernel shows them.
///
/// `/proc/PID/environ` is readable by every process of the same user, so also by the programs that this one starts. Call it
/// once, before the first thread starts: threads may read the environment meanwhile.
package func processEnvironment() -> [String: String] {
    var variables: [String: String] = [:]
    var names: [String] = []
    var next = unsafe clinux_environment()
    while let entry = unsafe next?.pointee {
        unsafe next = next?.advanced(by: 1)
        guard let equals = unsafe strchr(entry, CInt(UInt8(ascii: "="))) else { continue }
        let value = unsafe equals.advanced(by: 1)
        let text = unsafe String(cString: value)
        let name = unsafe String(cString: entry).prefix(while: { $0 != "=" })
        variables[String(name)] = text
        guard isSecret(String(name)) else { continue }
        unsafe clinux_erase(value)
        names.append(String(name))
    }
    for name in names { unsafe unsetenv(name) }
    return variables
}

/// Whether the value of a variable is for this process alone; the path of a file with a secret is none.
package func isSecret(_ variable: String) -> Bool {
    let words = variable.split(separator: "_")
    guard words.first == "STREAMVAULT", words.last != "FILE" else { return false }
    let secrets: Set<Substring> = ["TOKEN", "SECRET", "PASSWORD", "KEY", "CREDENTIALS"]
    return words.contains { secrets.contains($0) }
}

/// The environment of programs that this process starts: without this program's own variables, and with a mark.
struct ChildEnvironment {
    /// Names the child and all that it starts, as long as these keep their environment.
    let mark: ProcessMark

    /// Lends the entries, `NAME=value`, with a null pointer at the end.
    func withEntries<Value>(
        _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Value
    ) -> Value {
        var entries: [UnsafeMutablePointer<CChar>?] = unsafe []
        var next = unsafe clinux_environment()
        while let entry = unsafe next?.pointee {
            unsafe next = next?.advanced(by: 1)
            if unsafe strncmp(entry, "STREAMVAULT_", 12) != 0 { unsafe entries.append(entry) }
        }
        let own = unsafe strdup(mark.entry)
        defer { unsafe free(own) }
        unsafe entries += [own, nil]
        return unsafe entries.withUnsafeMutableBufferPointer { buffer in
            // Not empty: it ends in a null pointer.
            guard let start = buffer.baseAddress else { preconditionFailure() }
            return unsafe body(start)
        }
    }
}
