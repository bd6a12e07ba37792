import Glibc

/// What publishing costs, beside the same in C: `PublisherBench cost DIR`.
///
/// `PublisherBench serve SIZE DIR` publishes a segment to be scraped, after one of a run that has ended, until a signal
/// ends it; SIZE is one of `Fixture.Size`.
@main enum Main {
    static func main() {
        do {
            try run(CommandLine.arguments.dropFirst())
        } catch {
            print(error)
            exit(1)
        }
    }

    private static func run(_ arguments: ArraySlice<String>) throws {
        let size = arguments.count == 3 ? Fixture.Size(rawValue: arguments[2]) : nil
        switch (arguments.first, size, arguments.last) {
        case ("cost", nil, let directory?) where arguments.count == 2:
            let values = Durations().values
            let operations = try Operations(directory: directory, values: values).all
            print(Rounds(operations, operationsPerPass: values.count).table)
        case ("serve", let size?, let directory?):
            try Fixture.endedRun(directory: directory, size: size)
            try Fixture(directory: directory, size: size).publishForever()
        default:
            print("usage: PublisherBench cost DIR | serve small|full|large|moving DIR")
            exit(64)
        }
    }
}
