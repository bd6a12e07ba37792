/// Why a command cannot be carried out, in one line.
struct StartError: Error, CustomStringConvertible {
    let description: String
}
