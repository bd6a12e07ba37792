/// The declarations that a page was made for: as long as they are the same ones, so is all of it but the values.
struct PlannedSources {
    private var planned: [(declaration: AnyObject, recorder: String?)] = []

    /// Takes note of the sources of a page; `false` when it was made for the same ones.
    mutating func areNew(_ sources: [MetricSource]) -> Bool {
        let isSame =
            sources.count == planned.count
            && sources.indices.allSatisfy {
                sources[$0].declaration === planned[$0].declaration
                    && sources[$0].recorder == planned[$0].recorder
            }
        if !isSame { planned = sources.map { ($0.declaration, $0.recorder) } }
        return !isSame
    }
}
