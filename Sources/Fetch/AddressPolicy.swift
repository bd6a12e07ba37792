import FoundationEssentials
package import Posix

/// From where an address can be reached, by IANA's registries of special-purpose addresses (RFC 6890).
///
/// In ascending order of what a server there may name: addresses of its own scope and of those before it.
enum AddressScope: Int, Comparable, CaseIterable, Sendable {
    /// From everywhere.
    case global
    /// From nowhere: documentation, benchmarks, multicast, and blocks that are not assigned.
    case reserved
    /// From this machine, its links, or a private network.
    case local

    static func < (first: AddressScope, second: AddressScope) -> Bool {
        first.rawValue < second.rawValue
    }

    /// For forms of IPv6 that contain an IPv4 address, that address counts too: the packets go there.
    init(of address: IPAddress) {
        self.init(bits: address.bits)
    }

    private init(bits: UInt128) {
        let ownScope =
            Self.ranges.first { $0.network.contains(bits) }?.scope
            ?? (Self.isAssigned(bits) ? .global : .reserved)
        self = max(ownScope, Self.scopeInside(bits) ?? .global)
    }

    /// IPv4 in its mapped form, and the part of IPv6 that is assigned to networks (RFC 4291, section 2.4).
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

    /// IPv4 addresses that a translator reaches through IPv6; local ones must not be reached so (RFC 6052, section 3.1).
    private static let translated = AddressNetwork(bits: 0x0064_FF9B << 96, length: 96)

    static let ranges: [(network: AddressNetwork, scope: AddressScope)] = [
        ("0.0.0.0/8", .local), ("10.0.0.0/8", .local), ("100.64.0.0/10", .local),
        ("127.0.0.0/8", .local), ("169.254.0.0/16", .local), ("172.16.0.0/12", .local),
        ("192.168.0.0/16", .local),
        // A service of Azure that only its machines can reach.
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

    /// `nil` for anything else, and for an address with bits beyond the length of its block.
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

/// Where a server is, which decides which addresses it may name.
package struct ServerPlace: Equatable, Sendable {
    var scope: AddressScope
    /// Whether it runs on this machine, also if its address is public.
    var isThisMachine = false

    /// Whether a document or a redirect from here may lead there.
    func mayName(_ other: ServerPlace) -> Bool {
        guard scope < .local else { return true }
        return other.scope <= scope && (isThisMachine || !other.isThisMachine)
    }

    /// The place that may name only what both places may name.
    func narrowed(to other: ServerPlace?) -> ServerPlace {
        guard let other else { return self }
        return ServerPlace(
            scope: min(scope, other.scope),
            isThisMachine: isThisMachine && other.isThisMachine
        )
    }
}

/// Which addresses the requests of one stream may use: a public origin may not name private addresses.
///
/// The address of the connection decides, not the host name: a name may have several addresses, and others the next time. The
/// origin is the server that answered the configured address. After a public server has answered, the stream stays public:
/// the name may resolve to another address later (DNS rebinding).
package struct AddressPolicy: Sendable {
    /// The document that names the first address of a request.
    package enum Role: Sendable {
        /// The configuration.
        case start
        /// A master playlist: the response is a playlist that names other addresses.
        case variant
        /// A media playlist.
        case media
    }

    package let exceptions: AddressExceptions
    /// The server that answered the configured address; `nil` before the first response.
    package private(set) var origin: ServerPlace?
    /// The servers of the document at the configured address, redirects included.
    private var startDocument: ServerPlace?
    /// The servers of the media playlist, and of the document that named it.
    private var mediaPlaylist: ServerPlace?

    package init(_ exceptions: AddressExceptions = AddressExceptions(), origin: ServerPlace? = nil)
    {
        (self.exceptions, self.origin) = (exceptions, origin)
    }

    /// The place that must be allowed to name the first address of a request; `nil` if only the configuration names it.
    func namer(for role: Role) -> ServerPlace? {
        switch role {
        case .start: origin
        case .variant: startDocument ?? origin
        case .media: mediaPlaylist ?? origin
        }
    }

    /// Records the servers of a response.
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

/// The servers that answered a request and its redirects.
struct AnsweringPlaces: Equatable, Sendable {
    let first: ServerPlace
    /// The place that may name only what each of them may name.
    private(set) var all: ServerPlace

    init(_ first: ServerPlace) { (self.first, all) = (first, first) }

    mutating func add(_ place: ServerPlace) { all = place.narrowed(to: all) }
}

/// Private addresses that the configuration allows.
package struct AddressExceptions: Equatable, Sendable {
    private(set) var networks: [AddressNetwork] = []
    /// In lower case; a pattern begins with `*.`.
    package private(set) var hosts: [String] = []

    package init() {}

    package static let rule = "must be an address, a network such as \"10.0.0.0/8\", or a host name"

    /// Adds an address, a block of addresses, a name, or `*.` and a name; `false` if it is none of these.
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
        // With a number at the end it would be a malformed address.
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

/// A connection that was refused, and why.
package struct AddressRefusal: Error, Equatable, Sendable, CustomStringConvertible {
    /// In numeric form.
    package let address: String
    let scope: AddressScope

    package var description: String {
        let kind =
            switch scope {
            case .global: "of this machine"
            case .reserved: "reserved"
            case .local: "private"
            }
        return "\(address) is \(kind), and a public origin may not name it (network.allow_private)"
    }
}

/// Whether the connection of a request may be used; pure.
struct ConnectionCheck {
    /// The place that names the address; `nil` if the configuration does.
    private let namer: ServerPlace?
    private let exceptions: AddressExceptions
    /// Whether the address is not checked: its name is allowed, or a proxy connects to it.
    private let isExempt: Bool
    private let isProxied: Bool
    /// Where the server is; `nil` before a request is sent.
    private(set) var place: ServerPlace?
    /// The last address that was refused.
    private(set) var refusal: AddressRefusal?

    /// Allows every connection.
    init() {
        (namer, exceptions, isExempt, isProxied) = (nil, AddressExceptions(), true, false)
    }

    init(
        of host: String,
        namedBy namer: ServerPlace?,
        _ exceptions: AddressExceptions,
        isProxied: Bool
    ) {
        (self.namer, self.exceptions, self.isProxied) = (namer, exceptions, isProxied)
        isExempt = isProxied || exceptions.contains(host: host)
    }

    /// Whether to connect to an address, in numeric form.
    mutating func mayOpen(_ address: String) -> Bool {
        isExempt || check(address, isThisMachine: false) != nil
    }

    /// Whether to send the request over a connection, which may be reused.
    mutating func mayUse(to address: String, from own: String) -> Bool {
        guard !isProxied else {
            // Where the server is, is unknown: it counts as public.
            place = ServerPlace(scope: .global)
            return true
        }
        place = check(address, isThisMachine: address == own)
        return isExempt || place != nil
    }

    /// The place of the address; `nil`, and a refusal, if it must not be requested.
    private mutating func check(_ address: String, isThisMachine: Bool) -> ServerPlace? {
        // An address that cannot be parsed is not requested, and may name nothing.
        let parsed = IPAddress(address)
        let scope = parsed.map { AddressScope(of: $0) } ?? .local
        let place = ServerPlace(
            scope: parsed == nil ? .global : scope,
            isThisMachine: isThisMachine
        )
        let target = ServerPlace(scope: scope, isThisMachine: isThisMachine)
        let isAllowed = isExempt || parsed.map { exceptions.contains($0) } ?? false
        guard isAllowed || namer?.mayName(target) ?? true else {
            refusal = AddressRefusal(address: address, scope: scope)
            return nil
        }
        return place
    }
}
