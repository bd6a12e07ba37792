import Foundation
import FuzzSupport
import Posix

@testable import Fetch
@testable import Recorder

/// What the recorder is answered by Twitch, ffprobe or another recorder; the first letter says by whom.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzAnswer(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = input(start, count)
    let body = Array(bytes.dropFirst())
    switch bytes.first {
    case UInt8(ascii: "p"): probe(body)
    case UInt8(ascii: "r"): watch(body)
    case UInt8(ascii: "h"): pause(body)
    case UInt8(ascii: "t"): authorize(body)
    default: list(body)
    }
    return 0
}

/// ffprobe: a conversion has lost nothing of itself.
private func probe(_ body: [UInt8]) {
    var facts = MediaProbe()
    for line in body.split(separator: 0x0A) { facts.parse(String(decoding: line, as: UTF8.self)) }
    let loss = facts.loss(in: facts)
    let hasKeyFrames = facts.tracks.allSatisfy { (facts.streams[$0]?.packetsFromKey ?? 0) > 0 }
    require(
        (loss == nil) == (hasKeyFrames && !facts.tracks.isEmpty),
        "a file loses nothing in itself: \(facts)"
    )
}

/// Another recorder: only one that says so is idle.
private func watch(_ body: [UInt8]) {
    guard let answer = RecorderActivity(json: body) else { return }
    var check = IdleCheck()
    let outcome = check.apply(.success(answer), at: .now())
    require((outcome == .idle) == answer.isSafeToUpdate, "as it says: \(outcome)")
}

/// Twitch's header fields, each a line: a pause has an end.
private func pause(_ body: [UInt8]) {
    let lines = body.split(separator: 0x0A, omittingEmptySubsequences: false).map {
        String(decoding: $0, as: UTF8.self)
    }
    var answer = APIAnswer(status: 429, body: [])
    answer.retryAfter = lines.first
    answer.rateLimitReset = lines.dropFirst().first
    let pause = answer.pause(at: .now())
    require(pause.map { (.zero ... .seconds(120)).contains($0) } ?? true, "bounded: \(lines)")
}
