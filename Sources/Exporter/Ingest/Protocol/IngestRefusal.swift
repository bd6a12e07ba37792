/// Why a line has no effect.
struct IngestRefusal: Error, Equatable {
    /// What kind of mistake it is: a label value of the metrics.
    enum Reason: String, CaseIterable {
        case tooLong = "too_long"
        /// Not one JSON object.
        case json
        /// A message that the protocol does not have, or a field that is missing, unknown or wrong.
        case message
        /// Not now: before `hello`, after `goodbye`, a phase outside of a shutdown, a metric that was not declared.
        case order
        /// A process of this name is there.
        case name
        /// The segment, or the exporter, is full.
        case room
        /// The segment cannot be written.
        case segment
    }

    let reason: Reason
    /// One line for people.
    let text: String

    init(_ reason: Reason, _ text: String) {
        (self.reason, self.text) = (reason, text)
    }
}
