import Testing

@testable import Posix

@Test(
    "a duration is numbers with units, the larger first",
    arguments: [
        ("60s", .seconds(60)), ("1.5s", .milliseconds(1500)), ("500ms", .milliseconds(500)),
        ("2m", .seconds(120)), ("1h30m", .seconds(5400)), ("0s", .zero),
        ("0.1s", .milliseconds(100)),
        ("1m0.5s", .milliseconds(60_500)), ("9223372036s", .seconds(9_223_372_036)),
        ("", nil), ("60", nil), ("s", nil), (".5s", nil), ("1.s", nil), ("-1s", nil), ("1 s", nil),
        ("1s1m", nil), ("1s1s", nil), ("1d", nil), ("1sec", nil), ("9223372037s", nil),
        ("99999999999999999999s", nil), ("1s ", nil),
    ] as [(String, Duration?)]
)
func durationText(_ text: String, is expected: Duration?) {
    #expect(Duration(text: text) == expected)
}

@Test(
    "a duration is written in whole hours, seconds, or milliseconds",
    arguments: [
        (.seconds(60), "60s"), (.milliseconds(1500), "1500ms"), (.zero, "0s"),
        (.seconds(7200), "2h"), (.seconds(5400), "5400s"),
    ] as [(Duration, String)]
)
func durationText(of duration: Duration, is expected: String) {
    #expect(duration.text == expected)
}
