import Posix
import Testing

@Suite("Listen addresses")
struct ListenAddressTests {
    @Test(
        "are read in the toolkit's spelling, and written back in it",
        arguments: [
            (":9847", ":9847"),
            (":0", ":0"),
            ("127.0.0.1:9847", "127.0.0.1:9847"),
            ("0.0.0.0:65535", "0.0.0.0:65535"),
            ("[::1]:9847", "[::1]:9847"),
            ("[0:0:0:0:0:0:0:1]:1", "[::1]:1"),
            ("[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.1]:80"),
            ("unix:/run/a b.sock", "unix:/run/a b.sock"),
        ]
    )
    func valid(text: String, canonical: String) throws {
        #expect(try ListenAddress(text).description == canonical)
    }

    @Test(
        "that are none are refused with the reason",
        arguments: [
            ("", .missingPort("")),
            ("9847", .missingPort("9847")),
            (":", .badPort(":")),
            (":+1", .badPort(":+1")),
            (":65536", .badPort(":65536")),
            (":http", .badPort(":http")),
            ("127.0.0.1:", .badPort("127.0.0.1:")),
            ("::1:9847", .missingBrackets("::1")),
            ("[::1]", .badPort("[::1]")),
            ("[127.0.0.1]:80", .badAddress("[127.0.0.1]")),
            ("[fe80::1%eth0]:80", .badAddress("[fe80::1%eth0]")),
            ("1.2.3:80", .hostName("1.2.3")),
            ("localhost:80", .hostName("localhost")),
            ("http://localhost:80", .badAddress("http://localhost")),
            ("unix:", .badPath("unix:")),
        ] as [(String, ListenAddressError)]
    )
    func invalid(text: String, reason: ListenAddressError) {
        #expect(throws: reason) { try ListenAddress(text) }
    }

    @Test("take a path that just fits the kernel's structure")
    func longPath() throws {
        let longest = "/" + String(repeating: "p", count: ListenAddress.maxPathBytes - 1)
        #expect(try ListenAddress("unix:\(longest)") == .unix(path: longest))
        #expect(throws: ListenAddressError.self) { try ListenAddress("unix:\(longest)p") }
    }

    @Test("show an IPv4 peer of a dual-stack socket as IPv4")
    func unmapped() throws {
        #expect(IPAddress("::ffff:10.0.0.1")?.unmapped == IPAddress("10.0.0.1"))
        #expect(IPAddress("::1")?.unmapped == IPAddress("::1"))
    }
}
