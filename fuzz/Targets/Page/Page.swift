import FuzzSupport
import HTTP

@testable import Exporter

nonisolated(unsafe) private var service = Stage.service()
private let routes = ExporterService.routes(metricsPath: Stage.metricsPath)

/// Any request is answered as its route declares, and what is guarded for those alone who show the token.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzPage(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard let request = request(in: input(start, count)) else { return 0 }
    let response = service.respond(to: request)
    _ = response.headLines
    let text = String(validating: response.body, as: UTF8.self)
    require(text != nil || response.contentType?.contains("protobuf") == true, "text is UTF-8")
    guard let route = routes.first(where: { $0.matches(request.path) }) else {
        require(response.status == .notFound, "no route: \(response.status.code)")
        return 0
    }
    require(route.statuses(hasToken: true).contains(response.status), "\(response.status.code)")
    let field = request.header("Authorization")?.lowercased() ?? ""
    let mayBeShown = field.hasPrefix("bearer ") && field.hasSuffix(Stage.token)
    let isGuarded = route.access == .tokenHolders && !mayBeShown
    require(!isGuarded || response.status == .unauthorized, "guarded: \(request.path)")
    return 0
}
