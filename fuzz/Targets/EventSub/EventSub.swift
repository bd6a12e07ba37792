import FuzzSupport
import HTTP
import Posix

@testable import Twitch

private let webhook = EventSubWebhook(secret: Delivery.secret)
/// The time of the deliveries in Twitch's documentation.
private let then = WallTime(nanoseconds: 1_573_899_072_123_000_000)

/// Only what was signed with the secret is taken, and only near its time.
///
/// The bytes are a delivery's id, time and type, a line each, and then its content. It is signed here, for no generator
/// guesses a signature.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzEventSub(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard let delivery = Delivery(input(start, count)) else { return 0 }
    let signature = delivery.signature
    let answer = read(delivery, signature)
    require(answer != .failure(.signature), "what is rightly signed is taken")
    guard case .success(let message) = answer else { return 0 }
    hold(message, delivery)
    // Every digit counts, and every byte that is signed.
    for index in 7..<signature.count {
        var forged = Array(signature.utf8)
        forged[index] = forged[index] == 0x30 ? 0x31 : 0x30
        let text = String(decoding: forged, as: UTF8.self)
        require(read(delivery, text) == .failure(.signature), "each digit of \(signature) counts")
    }
    for changed in delivery.changed {
        if case .success = read(changed, signature) { fatalError("\(changed) is not signed") }
    }
    let late = WallTime(nanoseconds: then.nanoseconds + 1_200_000_000_001)
    require(read(delivery, signature, at: late) == .failure(.time), "it cannot be replayed later")
    return 0
}

private func read(
    _ delivery: Delivery,
    _ signature: String,
    at now: WallTime = then
) -> Result<EventSubMessage, EventSubRefusal> {
    guard let request = delivery.request(signature) else { return .failure(.header) }
    return Result { () throws(EventSubRefusal) in try webhook.read(request, at: now) }
}

private func hold(_ message: EventSubMessage, _ delivery: Delivery) {
    switch message {
    case .verification(let challenge):
        require(delivery.kind == "webhook_callback_verification", challenge)
    case .revocation: require(delivery.kind == "revocation", "a revocation")
    case .notification(let notification):
        let isKnown = notification.event == .other || delivery.kind == "notification"
        require(notification.id == delivery.id && isKnown, "\(notification)")
        let sent = notification.sentAt
        let again = WallTime(rfc3339: sent.iso8601)?.nanoseconds
        require(again == sent.nanoseconds / 1_000_000 * 1_000_000, "\(sent.iso8601) is read again")
    }
}
