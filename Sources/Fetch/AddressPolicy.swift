import FoundationEssentials
package import Posix

/// From where an address can be reached, by IANA's registries of special-purpose addresses (RFC 6890).
///
/// In the order of what a server there may name: each the addresses of its own scope and of those before.
enum AddressScope: Int, Comparable, CaseIterable, Sendable {
    /// From everywhere.
    case global
    /// From nowhere that is known: documentation, benchmarks, multicast, and what is not assigned.
    case reserved
    /// From this machine, its links, or a private network.
    case local

    static func < (first: AddressScope, second: AddressScope) -> Bool {
        first.rawValue < second.rawValue
    }

    /// Looks into the forms of IPv6 that carry an IPv4 address, which is where the packets go.
    init(of address: IPAddress) {
        self.init(bits: address.bits)
    }

    private init(bits: UInt128) {
        let ownScope =
            Self.ranges.first { $0.network.contains(bits) }?.scope
            ?? (Self.isAssigned(bits) ? .global : .reserved)
        self = max(ownScope, Self.scopeInside(bits) ?? .global)
    }

    /// IPv4 in its mapped form, and the part of IPv6 that is given to networks (RFC 4291, section 2.4).
    private static func isAssigned(_ bits: UInt128) -> Bool {
        bits >> 32 == 0xFFFF || bits >> 125 == 1 || translated.contains(bits)
    }

    /// The scope of the IPv4 addresses inside; `nil` without any.
    private static func scopeInside(_ bits: UInt128) -> AddressScope? {
        let inner: [UInt128]
        switch bits {
        case _ where translated.contains(bits), _ where bits >> 32 == 0 && bits > 1:
            inner = [bits]  // NAT64 (RFC 6052), and IPv4-compatible addresses.
        case _ where bits >> 112 == 0x2002: inner = [bits >> 80]  // 6to4 (RFC 3056).
        case _ where bits >> 96 == 0x2001_0000: inner = [bits >> 64, ~bits]  // Teredo (RFC 4380).
        case _ where (bits >> 32) & 0xFDFF_FFFF == 0x5EFE: inner = [bits]  // ISATAP (RFC 5214).
        default: return nil
        }
        return inner.map { AddressScope(bits: 0xFFFF << 32 | $0 & 0xFFFF_FFFF) }.max()
    }

    /// Which of IPv4 a translator reaches through IPv6; local ones are not to be had there (RFC 6052, section 3.1).
    private static let translated = AddressNetwork(bits: 0x0064_FF9B << 96, length: 96)

    static let ranges: [(network: AddressNetwork, scope: AddressScope)] = [
        ("0.0.0.0/8", .local), ("10.0.0.0/8", .local), ("100.64.0.0/10", .local),
        ("127.0.0.0/8", .local), ("169.254.0.0/16", .local), ("172.16.0.0/12", .local),
        ("192.168.0.0/16", .local),
        // What Azure shows to its machines, and nobody else.
        ("168.63.129.16", .local),
        ("192.0.0.0/24", .reserved), ("192.0.2.0/24", .reserved), ("192.88.99.0/24", .reserved),
        ("198.18.0.0/15", .reserved), ("198.51.100.0/24", .reserved),
        ("203.0.113.0/24", .reserved), ("224.0.0.0/4", .reserved), ("240.0.0.0/4", .reserved),
        ("::", .local), ("::1", .local), ("64:ff9b:1::/48", .local), ("fc00::/7", .local),
        ("fe80::/10", .local), ("fec0::/10", .local),
        ("2001::/23", .reserved), ("2001:db8::/32", .reserved), ("3fff::/20", .reserved),
    ].compactMap { text, scope in AddressNetwork(text).map { ($0, scope) } }
}

/// A block of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
struct AddressNetwork: Equatable, Sendable {
    private let bits: UInt128
    private let length: Int

    fileprivate init(bits: UInt128, length: Int) {
        (self.bits, self.length) = (bits, length)
    }

    /// `nil` for anything else, and for an address that has bits beyond the length of its block.
    init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(String(first)) else { return nil }
        bits = address.bits
        let width = if case .v4 = address { 32 } else { 128 }
        let given = parts.count == 2 ? decimal(parts[1]) : width
        guard let given, given <= width else { return nil }
        length = 128 - width + given
        guard length == 0 ? bits == 0 : bits << length == 0 else { return nil }
    }

    func contains(_ address: IPAddress) -> Bool { contains(address.bits) }

    fileprivate func contains(_ other: UInt128) -> Bool {
        length == 0 || bits >> (128 - length) == other >> (128 - length)
    }
}

extension IPAddress {
    /// As IPv6, IPv4 in its mapped form (RFC 4291, section 2.5.5.2).
    fileprivate var bits: UInt128 {
        switch self {
        case .v4(let bytes): UInt128(0xFFFF) << 32 | UInt128(UInt32(bigEndian: bytes))
        case .v6(let bytes): bytes.indices.reduce(0) { $0 << 8 | UInt128(bytes[$1]) }
        }
    }
}

/// Where a server is, which decides what it may make the recorder ask.
package struct ServerPlace: Equatable, Sendable {
    var scope: AddressScope
    /// Whether it runs on this machine, also under an address that everybody can reach.
    var isThisMachine = false

    /// Whether a document or a redirect from here may lead there.
    func mayName(_ other: ServerPlace) -> Bool {
        guard scope < .local else { return true }
        return other.scope <= scope && (isThisMachine || !other.isThisMachine)
    }

    /// The place that may name only what both may.
    func narrowed(to other: ServerPlace?) -> ServerPlace {
        guard let other else { return self }
        return ServerPlace(
            scope: min(scope, other.scope),
            isThisMachine: isThisMachine && other.isThisMachine
        )
    }
}

/// Which addresses the requests of one stream may use: an origin that everybody can reach names no private ones.
///
/// The address that is used decides, not the name: it may have several, and others the next time. The origin is what the
/// configured address was answered from. Once that was a public server the stream stays public: its name may lead
/// elsewhere later (DNS rebinding).
package struct AddressPolicy: Sendable {
    /// What names the first address of a request.
    package enum Role: Sendable {
        /// The configuration.
        case start
        /// A master playlist; what comes is a playlist, and names others.
        case variant
        /// A media playlist.
        case media
    }

    package let exceptions: AddressExceptions
    /// Where the configured address was answered from; `nil` before the first answer.
    package private(set) var origin: ServerPlace?
    /// Where the document at the configured address came from, redirects included.
    private var startDocument: ServerPlace?
    /// The same of the media playlist, together with the document that named it.
    private var mediaPlaylist: ServerPlace?

    package init(_ exceptions: AddressExceptions = AddressExceptions(), origin: ServerPlace? = nil)
    {
        (self.exceptions, self.origin) = (exceptions, origin)
    }

    /// Who must be allowed to name the first address of a request; `nil` where that is the configuration alone.
    func namer(for role: Role) -> ServerPlace? {
        switch role {
        case .start: origin
        case .variant: startDocument ?? origin
        case .media: mediaPlaylist ?? origin
        }
    }

    /// Notes where an answer came from: its first server, and all of them where it was redirected.
    mutating func answered(_ role: Role, from places: AnsweringPlaces) {
        switch role {
        case .start:
            origin = places.first.narrowed(to: origin)
            startDocument = places.all.narrowed(to: origin)
            mediaPlaylist = startDocument
        case .variant: mediaPlaylist = places.all.narrowed(to: startDocument)
        case .media: break
        }
    }
}

/// The servers that a request was answered by, from redirect to redirect.
struct AnsweringPlaces: Equatable, Sendable {
    let first: ServerPlace
    /// The place that may name only what each of them may.
    private(set) var all: ServerPlace

    init(_ first: ServerPlace) { (self.first, all) = (first, first) }

    mutating func add(_ place: ServerPlace) { all = place.narrowed(to: all) }
}

/// Addresses that may be named although they are private, by the configuration.
package struct AddressExceptions: Equatable, Sendable {
    private(set) var networks: [AddressNetwork] = []
    /// In lower case; a pattern begins with `*.`.
    package private(set) var hosts: [String] = []

    package init() {}

    package static let rule = "must be an address, a network such as \"10.0.0.0/8\", or a host name"

    /// Takes an address, a block of them, a name, or `*.` and a name; whether it is one.
    package mutating func take(_ text: String) -> Bool {
        if let network = AddressNetwork(text) {
            networks.append(network)
            return true
        }
        let name = text.hasPrefix("*.") ? text.dropFirst(2) : text[...]
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        let isName = labels.allSatisfy { label in
            !label.isEmpty && label.utf8.allSatisfy(Self.isInName)
        }
        // Numbers at the end would be an address that is written wrong.
        guard isName, labels.last?.utf8.contains(where: { $0 > 0x39 }) ?? false else {
            return false
        }
        hosts.append(text.lowercased())
        return true
    }

    package func contains(host: String) -> Bool {
        let host = host.lowercased()
        return hosts.contains { pattern in
            pattern.hasPrefix("*.") ? host.hasSuffix(pattern.dropFirst()) : host == pattern
        }
    }

    package func contains(_ address: IPAddress) -> Bool {
        networks.contains { $0.contains(address) }
    }

    private static func isInName(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "_"): true
        default: false
        }
    }
}

/// A connection that was not used, and why.
package struct AddressRefusal: Error, Equatable, Sendable, CustomStringConvertible {
    /// In numbers.
    package let address: String
    let scope: AddressScope

    package var description: String {
        let kind =
            switch scope {
            case .global: "of this machine"
            case .reserved: "reserved"
            case .local: "private"
            }
        return "\(address) is \(kind), and not for a public origin to name (network.allow_private)"
    }
}
