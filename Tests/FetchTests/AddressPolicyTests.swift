import Foundation
import Posix
import TestSupport
import Testing

@testable import Fetch

@Suite("which addresses a stream may use")
struct AddressPolicyTests {
    /// The registries of special-purpose addresses (RFC 6890 and what IANA added): first and last address of each block.
    private static let specialAddresses: [(text: String, scope: AddressScope)] = [
        ("0.0.0.0", .local), ("0.255.255.255", .local), ("10.0.0.0", .local),
        ("10.255.255.255", .local), ("100.64.0.0", .local), ("100.127.255.255", .local),
        ("100.100.100.200", .local), ("127.0.0.0", .local), ("127.255.255.255", .local),
        ("169.254.0.0", .local), ("169.254.169.254", .local), ("169.254.255.255", .local),
        ("172.16.0.0", .local), ("172.31.255.255", .local), ("192.168.0.0", .local),
        ("192.168.255.255", .local), ("168.63.129.16", .local),
        ("192.0.0.0", .reserved), ("192.0.0.192", .reserved), ("192.0.0.255", .reserved),
        ("192.0.2.0", .reserved), ("192.0.2.255", .reserved), ("192.88.99.1", .reserved),
        ("198.18.0.0", .reserved), ("198.19.255.255", .reserved), ("198.51.100.7", .reserved),
        ("203.0.113.7", .reserved), ("224.0.0.1", .reserved), ("239.255.255.255", .reserved),
        ("240.0.0.0", .reserved), ("255.255.255.255", .reserved),
        ("::", .local), ("::1", .local), ("fc00::", .local), ("fd00:ec2::254", .local),
        ("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", .local), ("fe80::1", .local),
        ("febf:ffff::1", .local), ("fec0::1", .local), ("64:ff9b:1::1", .local),
        ("64:ff9b:1:ffff:ffff:ffff:ffff:ffff", .local),
        ("100::1", .reserved), ("2001::", .local),
        ("2001:0:808:808::", .reserved), ("2001:1::1", .reserved),
        ("2001:1ff:ffff::1", .reserved), ("2001:db8::1", .reserved), ("3fff::1", .reserved),
        ("3fff:fff::1", .reserved), ("4000::1", .reserved), ("5f00::1", .reserved),
        ("ff02::1", .reserved), ("ff0e::1", .reserved), ("1fff::1", .reserved),
        // Forms of IPv6 that carry an IPv4 address.
        ("::ffff:127.0.0.1", .local), ("::ffff:10.1.2.3", .local), ("::ffff:8.8.8.8", .global),
        ("::ffff:203.0.113.1", .reserved), ("::127.0.0.1", .local), ("::8.8.8.8", .reserved),
        ("64:ff9b::127.0.0.1", .local), ("64:ff9b::a9fe:a9fe", .local),
        ("64:ff9b::8.8.8.8", .global), ("2002:7f00:1::1", .local), ("2002:c0a8:101::1", .local),
        ("2002:808:808::1", .global), ("2001:0:7f00:1::", .local),
        // Teredo's client: 192.168.0.1 with each bit turned.
        ("2001:0:808:808:0:0:3f57:fffe", .local), ("2001:0:808:808:0:0:f7f7:f7f7", .reserved),
        ("2620::5efe:a00:1", .local), ("2620::200:5efe:8.8.8.8", .global),
    ]

    /// Neighbours of those blocks.
    private static let ordinary = [
        "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
        "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
        "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.88.98.255", "192.88.100.0",
        "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255",
        "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255", "168.63.129.15",
        "168.63.129.17", "8.8.8.8", "2000::1", "2001:200::1", "2001:db7:ffff::1", "2001:db9::1",
        "2606:4700:4700::1111", "2a00:1450::1", "3ffe:ffff::1", "3fff:1000::1",
    ]

    @Test("an address has the scope of its block", arguments: specialAddresses)
    func special(text: String, scope: AddressScope) throws {
        #expect(AddressScope(of: try #require(IPAddress(text))) == scope)
    }

    @Test("all others are global", arguments: ordinary)
    func global(text: String) throws {
        #expect(AddressScope(of: try #require(IPAddress(text))) == .global)
    }

    @Test("no row of the table is lost")
    func rows() {
        #expect(AddressScope.ranges.count == 25)
    }

    @Test(
        "blocks contain what they should, and nothing else is one",
        arguments: [
            ("10.0.0.0/8", "10.1.2.3", true), ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true), ("192.168.1.5", "192.168.1.5", true),
            ("192.168.1.5", "192.168.1.6", false), ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fc00::1", false), ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "fd00::1", false), ("::/0", "1.2.3.4", true), ("::1/128", "::1", true),
            ("10.0.0.1/8", "10.0.0.1", nil), ("10.0.0.0/33", "10.0.0.0", nil),
            ("10.0.0.0/", "10.0.0.0", nil), ("10.0.0.0/-1", "10.0.0.0", nil),
            ("10.0.0/8", "10.0.0.0", nil), ("fd00::/129", "fd00::1", nil),
            ("10.0.0.0/99999999999999999999", "10.0.0.0", nil), ("/8", "10.0.0.0", nil),
        ] as [(String, String, Bool?)]
    )
    func network(text: String, address: String, isInside: Bool?) throws {
        let address = try #require(IPAddress(address))
        #expect(AddressNetwork(text)?.contains(address) == isInside)
    }

    @Test(
        "exceptions are addresses, blocks and names",
        arguments: [
            ("Media.LAN", true), ("*.internal.example", true), ("10.0.0.0/8", true),
            ("fd00::1", true), ("localhost", true), ("", false), ("*", false), ("*.", false),
            ("a..b", false), ("10.0.0.1/8", false), ("10.0.0.256", false), ("http://x", false),
            ("x:80", false), ("127.1", false), ("2130706433", false), ("é.example", false),
        ]
    )
    func exceptions(text: String, isTaken: Bool) {
        var exceptions = AddressExceptions()
        let taken = exceptions.take(text)
        #expect(taken == isTaken)
    }

    @Test("a name is allowed as a whole, a pattern allows what is below it")
    func names() {
        var exceptions = AddressExceptions()
        let taken = ["Media.LAN", "*.internal.example"].map { exceptions.take($0) }
        #expect(taken == [true, true])
        let hosts = ["media.lan", "x.MEDIA.lan", "a.b.internal.example", "internal.example", "lan"]
        #expect(hosts.map(exceptions.contains(host:)) == [true, false, true, false, false])
    }

    private static let world = ServerPlace(scope: .global)
    private static let lab = ServerPlace(scope: .reserved)
    private static let lan = ServerPlace(scope: .local)
    private static let own = ServerPlace(scope: .global, isThisMachine: true)
    private static let loopback = ServerPlace(scope: .local, isThisMachine: true)

    @Test("a public server names public ones, a private one all")
    func naming() {
        let places = [Self.world, Self.own, Self.lab, Self.lan, Self.loopback]
        let named = places.map { namer in places.map { namer.mayName($0) } }
        #expect(
            named == [
                [true, false, false, false, false], [true, true, false, false, false],
                [true, false, true, false, false], [true, true, true, true, true],
                [true, true, true, true, true],
            ]
        )
    }

    @Test("a stream that was public once stays so, wherever its name leads later")
    func rebinding() {
        var policy = AddressPolicy()
        #expect(policy.namer(for: .start) == nil)
        policy.answered(.start, from: AnsweringPlaces(Self.world))
        policy.answered(.start, from: AnsweringPlaces(Self.loopback))
        for role in [AddressPolicy.Role.start, .variant, .media] {
            #expect(policy.namer(for: role) == Self.world)
        }
        let next = AddressPolicy(origin: policy.origin)
        #expect(next.namer(for: .start) == Self.world && next.namer(for: .media) == Self.world)
    }

    @Test("a private origin may be asked again after it has led to a public server")
    func led() {
        var policy = AddressPolicy()
        var places = AnsweringPlaces(Self.lan)
        places.add(Self.world)
        policy.answered(.start, from: places)
        #expect(policy.namer(for: .start) == Self.lan)
        #expect(policy.namer(for: .variant) == Self.world)
        policy.answered(.start, from: AnsweringPlaces(Self.lan))
        policy.answered(.variant, from: AnsweringPlaces(Self.world))
        #expect(policy.namer(for: .variant) == Self.lan)
        #expect(policy.namer(for: .media) == Self.world)
        policy.answered(.variant, from: AnsweringPlaces(Self.lan))
        #expect(policy.namer(for: .media) == Self.lan, "another variant, named by the origin")
    }

    @Test(
        "who asks a proxy, by the environment",
        arguments: [
            ("http://a.example/x", "http://p:1"), ("https://a.example/x", "http://s:2"),
            ("http://127.0.0.1:80/", nil), ("http://[::1]/", nil), ("http://10.9.8.7/", nil),
            ("http://11.9.8.7/", "http://p:1"), ("http://x.lan/", nil), ("http://LAN./", nil),
            ("http://xlan/", "http://p:1"), ("http://sub.dotted.example/", nil),
        ] as [(String, String?)]
    )
    func proxies(url: String, proxy: String?) throws {
        let variables = [
            "http_proxy": "http://p:1", "HTTPS_PROXY": "http://s:2", "HTTP_PROXY": "http://evil",
            "no_proxy": "127.0.0.1, [::1],10.0.0.0/8 lan,.dotted.example.",
        ]
        let rules = ProxyRules { variables[$0] }
        #expect(rules.proxy(for: try #require(URL(string: url))) == proxy)
        #expect(
            ProxyRules { ["no_proxy": "*", "all_proxy": "p"][$0] }.proxy(for: URL(filePath: "/"))
                == nil
        )
    }
}

@Suite("addresses that are asked, and those that are not", .timeLimit(.minutes(5)))
struct AddressFetchingTests {
    private let stop: StopSignal

    init() throws {
        stop = try StopSignal()
    }

    /// Forms of loopback that a playlist may write.
    private static let forms = [
        "127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0x7f000001", "localhost",
        "0.0.0.0", "0", "127.0.0.1.", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "%31%32%37.0.0.1",
        "good.example@127.0.0.1", "①②⑦.0.0.1",
    ]

    @Test("nothing connects to loopback when a public playlist names it", arguments: forms)
    func refused(host: String) async throws {
        let server = try ScriptedServer { _, _ in .text("x") }
        let port = try #require(server.url("/").port)
        guard let url = URL(string: "http://\(host):\(port)/-/terminating") else { return }
        let stop = stop
        let results = await onThread {
            [AddressPolicy.Role.start, .variant, .media].map { role in
                fetch(url, as: role, policy(.global), stop)
            }
        }
        for result in results {
            guard case .failure(let error) = result, error != .cancelled else {
                Issue.record("\(host): \(result)")
                continue
            }
        }
        #expect(server.connections == 0)
    }

    @Test("a refusal names the address and the setting")
    func text() async throws {
        let server = try ScriptedServer { _, _ in .text("x") }
        let stop = stop
        let result = await onThread { fetch(server.url("/"), as: .media, policy(.global), stop) }
        let refusal = AddressRefusal(address: "127.0.0.1", scope: .local)
        #expect(result == .failure(.refusedAddress(refusal)))
        #expect("\(refusal)".contains("127.0.0.1 is private"))
        #expect("\(refusal)".contains("network.allow_private"))
    }

    @Test("a private origin, an allowed network and an allowed name are asked")
    func allowed() async throws {
        let server = try ScriptedServer { _, _ in .text("x") }
        let port = try #require(server.url("/").port)
        var network = AddressExceptions()
        var name = AddressExceptions()
        let taken = [network.take("127.0.0.0/8"), name.take("localhost")]
        #expect(taken == [true, true])
        let policies = [
            policy(.local), AddressPolicy(), AddressPolicy(network, origin: .world),
            AddressPolicy(name, origin: .world),
        ]
        let url = try #require(URL(string: "http://localhost:\(port)/"))
        let stop = stop
        let results = await onThread { policies.map { fetch(url, as: .media, $0, stop) } }
        #expect(results.allSatisfy { (try? $0.get().bytes.count) == 1 }, "\(results)")
    }

    @Test("what a proxy is asked for is the proxy's to judge; an old connection is judged again")
    func proxied() async throws {
        let proxy = try ScriptedServer { path, _ in .text(path) }
        let server = try ScriptedServer { _, _ in
            var reply = ScriptedServer.Reply.text("x")
            reply.keepsOpen = true
            return reply
        }
        let address = proxy.url("").absoluteString
        let far = try #require(URL(string: "http://169.254.169.254/latest"))
        let stop = stop
        let results = await onThread { () -> [Result<FetchedBody, FetchError>] in
            guard
                let transfers = try? Transfers(
                    headers: [:],
                    userAgent: "test",
                    proxies: ProxyRules {
                        ["http_proxy": address, "no_proxy": "127.0.0.1"][$0]
                    }
                )
            else { return [] }
            return [
                get(server.url("/1"), as: .media, transfers, stop),
                get(far, as: .start, transfers, stop),
                get(server.url("/2"), as: .media, transfers, stop),
            ]
        }
        #expect(proxy.requests == ["http://169.254.169.254/latest"])
        let isAnswered = results.map { (try? $0.get()) != nil }
        #expect(isAnswered == [true, true, false])
        #expect(server.requests == ["/1"] && server.connections == 1)
    }
}

extension ServerPlace {
    fileprivate static let world = ServerPlace(scope: .global)
}

private func policy(_ scope: AddressScope) -> AddressPolicy {
    AddressPolicy(origin: ServerPlace(scope: scope))
}

private func fetch(
    _ url: URL,
    as role: AddressPolicy.Role,
    _ policy: AddressPolicy,
    _ stop: StopSignal
) -> Result<FetchedBody, FetchError> {
    do throws(FetchError) {
        let transfers = try Transfers(
            headers: [:],
            userAgent: "test",
            policy: policy,
            proxies: ProxyRules { _ in nil }
        )
        return get(url, as: role, transfers, stop)
    } catch {
        return .failure(error)
    }
}

private func get(
    _ url: URL,
    as role: AddressPolicy.Role,
    _ transfers: Transfers,
    _ stop: StopSignal
) -> Result<FetchedBody, FetchError> {
    _ = transfers.start(FetchRequest(url: url, limits: standard), as: role)
    return transfers.wait(until: nil, or: stop).first?.result ?? .failure(.cancelled)
}
