import Glibc

/// What publishing costs, beside the same in C: `PublisherBench cost DIR`.
///
/// `PublisherBench serve DIR` publishes a segment to be scraped, until a signal ends it; `PublisherBench stop DIR`, before
/// it, one of a run that has ended.
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
        switch (arguments.first, arguments.last) {
        case ("cost", let directory?) where arguments.count == 2:
            let values = Durations().values
            let operations = try Operations(directory: directory, values: values).all
            print(Rounds(operations, operationsPerPass: values.count).table)
        case ("stop", let directory?) where arguments.count == 2:
            try Fixture.endedRun(directory: directory)
        case ("serve", let directory?) where arguments.count == 2:
            try Fixture(directory: directory).publishForever()
        default:
            print("usage: PublisherBench cost DIR | stop DIR | serve DIR")
            exit(64)
        }
    }
}
