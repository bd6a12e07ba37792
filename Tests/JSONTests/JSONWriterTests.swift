import Foundation
import Posix
import TestSupport
import Testing

@testable import JSON

private func written(_ value: JSONValue, _ layout: JSONWriter.Layout = .compact) -> String {
    String(decoding: JSONWriter.write(value, layout), as: UTF8.self)
}

@Suite("JSON writer")
struct JSONWriterTests {
    private static let document: JSONValue = [
        "name": "gate", "open": true, "note": .null, "counts": [1, -2], "empty": [:], "none": [],
        "nested": ["a": ["b": "c"]],
    ]

    @Test("the compact layout has no spaces, and members stand in their order")
    func compact() {
        let text =
            #"{"name":"gate","open":true,"note":null,"counts":[1,-2],"empty":{},"none":[],"nested":{"a":{"b":"c"}}}"#
        #expect(written(Self.document) == text)
        #expect(written(Self.document, .line) == text + "\n")
    }

    @Test("the indented layout has one item a line")
    func indented() {
        let text = """
            {
              "name": "gate",
              "open": true,
              "note": null,
              "counts": [
                1,
                -2
              ],
              "empty": {},
              "none": [],
              "nested": {
                "a": {
                  "b": "c"
                }
              }
            }

            """
        #expect(written(Self.document, .indented) == text)
    }

    @Test(
        "numbers are exact, and shortest where they are doubles",
        arguments: [
            (.integer(UInt64.max), "18446744073709551615"),
            (.integer(Int64.min), "-9223372036854775808"), (.integer(0 as Int8), "0"),
            (.double(0.1), "0.1"), (.double(1), "1"), (.double(-2), "-2"),
            (.double(1e15), "1000000000000000"),
            (.double(1e17), "1e+17"), (.double(1.5e300), "1.5e+300"),
            (.double(.leastNonzeroMagnitude), "5e-324"), (.double(.infinity), "null"),
            (.double(-.infinity), "null"), (.double(.nan), "null"),
        ] as [(JSONValue, String)]
    )
    func numbers(_ value: JSONValue, _ text: String) {
        #expect(written(value) == text)
    }

    @Test(
        "numbers that were read are written as they were spelled",
        arguments: ["0", "-0", "1.50e3", "123456789012345678901234567890", "1E-400", "0.10"]
    )
    func spelling(_ text: String) throws {
        #expect(written(try JSONReader.read(Array(text.utf8))) == text)
    }

    @Test("numbers that only JSON5 has are written as RFC 8259 has them, or as null")
    func json5Numbers() throws {
        let text = "[0x1F, +.5, 5., Infinity, -Infinity, NaN]"
        let value = try JSONReader.read(Array(text.utf8), as: .json5)
        #expect(written(value) == "[31,0.5,5,null,null,null]")
    }

    @Test("doubles of any magnitude read back as the same double")
    func doubles() throws {
        var random = SeededGenerator(state: 754)
        for _ in 0..<10_000 {
            let value = Double(bitPattern: random.next())
            guard value.isFinite else { continue }
            guard
                case .number(let number) = try JSONReader.read(
                    JSONWriter.write(.double(value), .line)
                )
            else { throw JSONError(place: .byte(0), reason: "no number") }
            #expect(number.double == value)
        }
    }

    @Test("quotes, backslashes and every invisible character are escaped and mean the same")
    func escapes() throws {
        let scalars = (0...0x3000).compactMap { Unicode.Scalar($0) }
        var text = String(String.UnicodeScalarView(scalars))
        text += "\u{202E}\u{E0041}é🛑\u{FEFF}\u{FFFF}\u{10FFFF}"
        let bytes = JSONWriter.write(
            .object([JSONMember(name: text, value: .string(text))]),
            .compact
        )
        let document = String(decoding: bytes, as: UTF8.self)
        #expect(visible(document) == document)
        #expect(document.contains("é🛑"))
        #expect(document.contains(#"\u2028\u2029"#))
        #expect(document.hasPrefix(#"{"\u0000\u0001"#))
        #expect(
            try JSONReader.read(bytes) == .object([JSONMember(name: text, value: .string(text))])
        )
        let object = try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: String]
        #expect(object == [text: text])
    }

    @Test("Foundation reads the same value from the written text as from the original")
    func foundation() throws {
        var random = SeededGenerator(state: 8259)
        var count = 0
        for _ in 0..<5_000 {
            let text = AlmostJSON.text(&random)
            guard let value = try? JSONReader.read(text) else { continue }
            // Foundation refuses numbers beyond the largest double.
            guard let expected = try? read(text) else { continue }
            count += 1
            for layout in [JSONWriter.Layout.compact, .line, .indented] {
                let bytes = JSONWriter.write(value, layout)
                #expect(try read(bytes) == expected, "\(String(decoding: bytes, as: UTF8.self))")
                #expect(try JSONReader.read(bytes) == value)
            }
        }
        #expect(count > 1_000, "\(count) documents are too few")
    }

    private func read(_ bytes: [UInt8]) throws -> NSObject? {
        let options: JSONSerialization.ReadingOptions = .fragmentsAllowed
        return try JSONSerialization.jsonObject(with: Data(bytes), options: options) as? NSObject
    }
}

@Suite("JSON values")
struct JSONValueTests {
    @Test("a member is read, set, replaced and removed by its name")
    func members() {
        var value: JSONValue = ["a": 1]
        value["b"] = "two"
        value["a"] = 3
        value["c"] = nil
        #expect(value == ["a": 3, "b": "two"])
        value["a"] = nil
        #expect(value == ["b": "two"])
        #expect(value["a"] == nil)
        #expect(value["b"]?.string == "two")
        #expect(value["b"]?.boolean == nil && value["b"]?.array == nil)
    }

    @Test("values other than objects have no members")
    func noMembers() {
        for value in [.null, true, 1, "text", ["a"]] as [JSONValue] {
            var changed = value
            changed["a"] = 1
            #expect(changed == value)
            #expect(value["a"] == nil)
        }
    }

    @Test("names that differ in their scalars are different members")
    func names() {
        let value: JSONValue = ["\u{E9}": 1, "e\u{301}": 2]
        #expect(value["e\u{301}"] == 2)
    }
}
