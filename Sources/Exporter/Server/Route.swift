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
    /// What its answers can be, besides 200.
    private let failures: [Status]
    let answer: Answer
    /// The path with a slash, when what is below it belongs to the route, too.
    private let prefix: String?

    /// `path` ends in `/*` when what is below it belongs to the route, too.
    init(
        _ path: String,
        _ access: Access,
        _ methods: [Method] = [.get, .head],
        failures: [Status] = [],
        _ answer: @escaping Answer
    ) {
        prefix = path.hasSuffix("/*") ? String(path.dropLast()) : nil
        self.path = prefix.map { String($0.dropLast()) } ?? path
        (self.access, self.methods, self.answer) = (access, methods, answer)
        self.failures = failures
    }

    /// Every status that a request for it can meet, for counts that are there before the first of them.
    func statuses(hasToken: Bool) -> [Status] {
        let refusals = hasToken && access == .tokenHolders ? [Status.unauthorized] : []
        return [.ok, .methodNotAllowed] + failures + refusals
    }

    func serves(_ path: String) -> Bool {
        path == self.path || prefix.map { path.hasPrefix($0) } ?? false
    }
}
