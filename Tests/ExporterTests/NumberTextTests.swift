import Testing

@testable import Exporter

@Suite("Numbers of an exposition")
struct NumberTextTests {
    private func text(_ append: (inout [UInt8]) -> Void) -> String {
        var page: [UInt8] = Array("x ".utf8)
        append(&page)
        return String(decoding: page.dropFirst(2), as: UTF8.self)
    }

    @Test("counts", arguments: [0, 9, 10, 12_345, .max] as [UInt64])
    func count(_ value: UInt64) {
        #expect(text { NumberText.append(value, to: &$0) } == "\(value)")
    }

    @Test(
        "a count grows in its place, as long as there is room",
        arguments: [
            (0, 1), (0, 9), (0, 10), (9, 1), (8, 1), (199, 1), (999, 1), (1_234, 8_765),
            (1_234, 8_766), (5, 1_000_000), (.max - 1, 1), (10_000_000_000, 89_999_999_999),
        ] as [(UInt64, UInt64)]
    )
    func growth(_ value: UInt64, _ amount: UInt64) {
        var page = Array("x \(value)\n".utf8)
        let place = 2..<page.count - 1
        let fits = "\(value + amount)".count == "\(value)".count
        #expect(NumberText.add(amount, to: place, of: &page) == fits)
        if fits { #expect(page == Array("x \(value + amount)\n".utf8)) }
        #expect(page.first == UInt8(ascii: "x") && page.last == UInt8(ascii: "\n"))
    }

    @Test(
        "nanoseconds are seconds, exact, without trailing zeros",
        arguments: [
            (0, "0"), (1, "0.000000001"), (1_500_000_000, "1.5"), (60_000_000_000, "60"),
            (1_795_434_040_048_492_835, "1795434040.048492835"), (100_000_000, "0.1"),
        ] as [(UInt64, String)]
    )
    func nanoseconds(_ value: UInt64, _ expected: String) {
        #expect(text { NumberText.append(nanoseconds: value, to: &$0) } == expected)
    }

    @Test(
        "doubles",
        arguments: [
            (0, "0"), (-3, "-3"), (0.0007059446666666667, "0.0007059446666666667"), (.nan, "NaN"),
            (.infinity, "+Inf"), (-.infinity, "-Inf"), (1e300, "1e+300"),
            (84_575_477_760, "84575477760"),
        ] as [(Double, String)]
    )
    func double(_ value: Double, _ expected: String) {
        #expect(text { NumberText.append(value, to: &$0) } == expected)
    }
}
