import Glibc
import Posix

/// Publishes as many recorders as it is told to, in one process: `Fleet TEMPLATE`.
///
/// TEMPLATE is the segment of a real recorder, whose metrics all of them have. On standard input come lines:
///
/// - `start DIRECTORY NAME`: a recorder of that name publishes into the directory;
/// - `stop DIRECTORY END SECONDS`: it shuts down, its recordings take so long, and it ends as `Ending` says.
///
/// Each end is a line `ended DIRECTORY` on standard output. The end of the input ends them all.
@main enum Main {
    static func main() {
        do {
            guard CommandLine.arguments.count == 2 else {
                throw FleetError("usage: Fleet TEMPLATE")
            }
            var fleet = Fleet(try Template(path: CommandLine.arguments[1]))
            try fleet.run()
        } catch {
            print(error)
            exit(1)
        }
    }
}

/// Why the fleet cannot go on, in one line.
struct FleetError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
