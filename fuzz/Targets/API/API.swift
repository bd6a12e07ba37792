import Foundation
import FuzzSupport
import HTTP

@testable import Recorder

private let api = Stage.api()

/// Any request is answered: in JSON where JSON is said, and with a change for those alone who show the token.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzAPI(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard let request = request(in: input(start, count)) else { return 0 }
    let response = api.respond(to: request)
    _ = response.headLines
    if response.contentType == "application/json" {
        let document = try? JSONSerialization.jsonObject(with: Data(response.body))
        require(document != nil, "JSON: \(String(decoding: response.body, as: UTF8.self))")
    }
    let field = request.header("Authorization")?.lowercased() ?? ""
    guard !field.hasPrefix("bearer ") || !field.hasSuffix(Stage.token) else { return 0 }
    let code = response.status.code
    require(code != 202 && code != 507 && code != 204, "nothing changes without the token: \(code)")
    let isDrain = request.path == "/api/drain" && request.method == .post
    require(!isDrain || code == 401, "no drain: \(code)")
    return 0
}
