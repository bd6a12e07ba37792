import HTTP

/// One row of what is served: a path, who may ask for it and how, and what answers.
struct Route: Sendable {
    /// Who may ask when there is a bearer token.
    enum Access {
        /// Everyone: a kubelet's probes carry no token.
        case everyone
        /// Only who knows the token.
        case tokenHolders
    }

    typealias Answer = @Sendable (inout ExporterService, Request) -> Response

    /// Also the route's name in the metrics.
    let path: String
    let access: Access
    let methods: [Method]
    let answer: Answer

    init(
        _ path: String,
        _ access: Access,
        _ methods: [Method] = [.get, .head],
        _ answer: @escaping Answer
    ) {
        (self.path, self.access, self.methods, self.answer) = (path, access, methods, answer)
    }
}
