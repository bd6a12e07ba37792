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
