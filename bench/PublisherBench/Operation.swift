/// One way to publish a value, and the same done in C.
struct Operation: Sendable {
    /// What must hold of the measured cost.
    enum Bar {
        case nanoseconds(Double)
        case ratio(Double)
    }

    /// Makes passes over the table of values, one operation for each value, as one of the threads, counted from 0.
    typealias Body = @Sendable (_ thread: Int, _ passes: Int) -> Void

    let name: String
    let threads: Int
    let bar: Bar?
    let measured: Body
    let floor: Body

    init(
        _ name: String,
        threads: Int = 1,
        bar: Bar? = nil,
        measured: @escaping Body,
        floor: @escaping Body
    ) {
        (self.name, self.threads, self.bar) = (name, threads, bar)
        (self.measured, self.floor) = (measured, floor)
    }
}
