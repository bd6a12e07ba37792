import Foundation
import HTTP
import TelemetryStage
import Testing

@testable import Exporter
@testable import StreamVaultTelemetry

private func family(
    _ name: String,
    _ kind: MetricFamily.Kind = .gauge,
    unit: String = "",
    labels: [String] = [],
    encoding: MetricFamily.Encoding = .integer,
    bounds: [UInt64] = []
) -> MetricFamily {
    MetricFamily(
        name: name,
        help: "Of a test.",
        kind: kind,
        encoding: encoding,
        unit: unit,
        labels: labels,
        bounds: bounds
    )
}

/// What recorders declare, in the order in which they were seen, and what is hidden of it.
struct Neighbourhood: CustomStringConvertible, Sendable {
    let description: String
    var recorders: [[MetricFamily]]
    /// The recorder's place, the name and the reason.
    var hidden: [(Int, String, HiddenFamily.Reason)] = []
    var relayed: Set<Int> = []

    init(
        _ description: String,
        _ recorders: [[MetricFamily]],
        hidden: [(Int, String, HiddenFamily.Reason)] = [],
        relayed: Set<Int> = []
    ) {
        (self.description, self.recorders) = (description, recorders)
        (self.hidden, self.relayed) = (hidden, relayed)
    }

    static let all = [
        Neighbourhood(
            "a known name in another shape, of each kind of difference",
            [
                [
                    family("streamvault_recorder_up", labels: ["nope"]),
                    family("streamvault_crashes_total", .counter, encoding: .double),
                    family("streamvault_disk_free_bytes"),
                    family("streamvault_disk_level", labels: ["levels"]),
                    family("streamvault_finalize_duration_seconds", unit: "seconds"),
                    family("streamvault_eventsub_messages_total", .counter, labels: ["type"]),
                    family("process_start_time_seconds", labels: ["nope"]),
                ], [RunMetrics.recorderUp],
            ],
            hidden: [
                (0, "streamvault_recorder_up", .otherShape),
                (0, "streamvault_crashes_total", .otherShape),
                (0, "streamvault_disk_free_bytes", .otherShape),
                (0, "streamvault_disk_level", .otherShape),
                (0, "streamvault_finalize_duration_seconds", .otherShape),
                (0, "streamvault_eventsub_messages_total", .otherShape),
                (0, "process_start_time_seconds", .otherShape),
            ]
        ),
        Neighbourhood(
            "a known name in its shape, with labels in another order",
            [
                [
                    RunMetrics.recorderUp, family("streamvault_disk_free_bytes", unit: "bytes"),
                    family(
                        "streamvault_eventsub_messages_total",
                        .counter,
                        labels: ["result", "type"]
                    ),
                ]
            ]
        ),
        Neighbourhood(
            "the exporter's own names, known or not",
            [
                [
                    family("streamvault_exporter_build_info", labels: ["version"]),
                    family("streamvault_exporter_of_tomorrow"),
                    family("streamvault_exporter", .histogram, bounds: [1]),
                ]
            ],
            hidden: [
                (0, "streamvault_exporter_build_info", .reserved),
                (0, "streamvault_exporter_of_tomorrow", .reserved),
                (0, "streamvault_exporter", .reserved),
            ]
        ),
        Neighbourhood(
            "an unknown name of a newer recorder, but not of a process on the ingest socket",
            [
                [family("streamvault_of_tomorrow")],
                [family("streamvault_of_tomorrow"), RunMetrics.recorderUp, family("x")],
                [family("streamvault", .histogram, bounds: [1])],
            ],
            hidden: [
                (1, "streamvault_of_tomorrow", .reserved), (2, "streamvault", .reserved),
            ],
            relayed: [1, 2]
        ),
        Neighbourhood(
            "an unknown name in two types or units: the recorder that was seen first decides",
            [
                [family("x_total", .counter), family("y_seconds", unit: "seconds")],
                [family("x_total"), family("y_seconds"), family("z")],
            ],
            hidden: [(1, "x_total", .otherRecorder), (1, "y_seconds", .otherRecorder)]
        ),
        Neighbourhood(
            "an unknown name with other labels, bounds or encodings: both are shown",
            [
                [family("x", labels: ["a"]), family("h", .histogram, bounds: [1])],
                [
                    family("x", labels: ["b"], encoding: .double),
                    family("h", .histogram, bounds: [2]),
                ],
            ]
        ),
        Neighbourhood(
            "names that meet only in a suffix of a format",
            [
                [
                    family("streamvault_crashes"), family("streamvault_recorder"),
                    family("streamvault_shutdown_duration_seconds_count"),
                    family("streamvault_finalize_duration_seconds_bucket"),
                    family("streamvault_crashes_created"), family("process_cpu_seconds"),
                    family("wait", .histogram, bounds: [1]), family("jobs_total", .counter),
                ], [family("wait_count"), family("wait_sum_total", .counter), family("jobs")],
            ],
            hidden: [
                (0, "streamvault_crashes", .sharedName), (0, "streamvault_recorder", .sharedName),
                (0, "streamvault_shutdown_duration_seconds_count", .sharedName),
                (0, "streamvault_finalize_duration_seconds_bucket", .sharedName),
                (0, "streamvault_crashes_created", .sharedName),
                (0, "process_cpu_seconds", .sharedName), (1, "wait_count", .sharedName),
                (1, "wait_sum_total", .sharedInOpenMetrics), (1, "jobs", .sharedInOpenMetrics),
            ]
        ),
        Neighbourhood(
            "what OpenMetrics cannot express",
            [
                [
                    family("state", .stateset, labels: ["other"]), family("s", .stateset),
                    family("t", .stateset, labels: ["t"]),
                    family("a_info", .info, unit: "a"), family("b_info", .info),
                ]
            ],
            hidden: [
                (0, "state", .malformed), (0, "s", .malformed), (0, "a_info", .malformed),
            ]
        ),
    ]
}

@Suite("Which metrics of recorders are shown")
struct VisibleFamiliesTests {
    @Test("no recorder hides or imitates another's", arguments: Neighbourhood.all)
    func decisions(_ declared: Neighbourhood) {
        var visible = VisibleFamilies()
        let declarers = declared.recorders.enumerated().map { place, families in
            VisibleFamilies.Declarer(
                recorder: "cam-\(place)",
                arrival: UInt64(place),
                families: families,
                isRelayed: declared.relayed.contains(place)
            )
        }
        let wanted = declared.hidden.map {
            HiddenFamily(recorder: "cam-\($0.0)", name: $0.1, reason: $0.2)
        }
        visible.decide(declarers)
        #expect(visible.hidden == wanted)
        // The order of names, by which sources stand on a page, decides nothing.
        visible.decide(declarers.reversed())
        #expect(visible.hidden == wanted)
        for (place, families) in declared.recorders.enumerated() {
            let names = declared.hidden.filter { $0.0 == place }.map(\.1)
            let hidden = visible.hiddenIndexes[declared.recorders.count - 1 - place]
            let all = hidden.everywhere.union(hidden.inOpenMetrics)
            #expect(Set(all.map { families[$0].name }) == Set(names))
        }
    }

    @Test(
        "what this version's recorder declares is known in its shape, as docs/metrics.md lists it"
    )
    func knownShapes() throws {
        let text = try String(contentsOfFile: testFile("../../docs/metrics.md"), encoding: .utf8)
        let row = /\| `(\w+)` \| (\w+)(?:, (\w+))? \| (.*?) \| .*/
        var compared = 0
        for line in text.split(separator: "\n") {
            guard let found = line.wholeMatch(of: row),
                let shape = KnownFamilies.shapes[String(found.1)]
            else { continue }
            // A label is listed alone or with its values: `reason`: `busy` `full`, `type`.
            let labels = found.4.matches(of: /(?:^|, )`(\w+)`/).map { String($0.1) }
            #expect(
                labels.sorted() == shape.labels && "\(shape.kind)" == found.2
                    && shape.unit == found.3 ?? "",
                "\(found.1)"
            )
            compared += 1
        }
        #expect(compared >= KnownFamilies.shapes.count - 3)
    }

    @Test(
        "a real segment and the exporter's page: all of the others' series stay, the rest is counted"
    )
    func page() throws {
        let files = try TelemetryDirectory()
        let honest = try files.publisher("cam")
        honest.counter("x_total", "X.", labels: ["kind": "a"]).add(5)
        var served = try Served(files.path)
        let before = try Set(series(served.ask("/metrics")))
        let hostile = try files.publisher("aaa")
        hostile.gauge("streamvault_disk_level", "Gone.", labels: ["nope": "x"]).set(1)
        hostile.gauge("streamvault_exporter_scrapers", "Gone.").set(1)
        hostile.gauge("x", "Shown in the text format alone.").set(1)
        for accept in ["text/plain", "application/openmetrics-text"] {
            let page = try served.ask("/metrics", ["Accept: \(accept)"])
            #expect(page.text.contains("streamvault_exporter_hidden_families 3\n"))
            #expect(!page.text.contains("Gone."))
        }
        #expect(try before.subtracting(series(served.ask("/metrics"))).isEmpty)
        let people = try served.ask("/").text
        #expect(people.contains("<code>streamvault_disk_level</code>"))
        withExtendedLifetime((honest, hostile)) {}
    }

    /// The page's series, without their values.
    private func series(_ page: Response) -> [Substring] {
        page.text.split(separator: "\n").filter { !$0.hasPrefix("#") }
            .map { $0.prefix { $0 != " " } }
    }
}
