import CommandLine
import Foundation
import Posix
import StreamVaultTelemetry
import Testing

@testable import Recorder

/// What is deployed names only what the recorder has; `tools/` checks the rest, against running programs.
@Suite("Deployment of the recorder")
struct RecorderDeploymentTests {
    @Test("every metric of the dashboard is published")
    func metrics() throws {
        let dashboard = try deployed("grafana/streamvault-shutdown.json")
        let named = Set(dashboard.matches(of: /streamvault_[a-z_]+/).map { String($0.output) })
        let published = try publishedNames()
        #expect(named.count > 15)
        #expect(named.subtracting(published).isEmpty)
    }

    @Test("every flag of the manifest exists")
    func flags() throws {
        let known = Set(Arguments.table.flags.map { "--" + $0.name })
        let given = try #require(try Manifest().flags["recorder"])
        #expect(!given.isEmpty)
        #expect(Set(given.keys).subtracting(known).isEmpty)
    }

    @Test("the grace period of the manifest gives every phase all the time it wants")
    func gracePeriod() throws {
        let manifest = try Manifest()
        let text = try #require(manifest.flags["recorder"]?["--shutdown.grace-period"])
        let grace = try #require(Duration(text: text))
        #expect(ShutdownPlan(gracePeriod: grace).shortGraceWarning == nil)
        #expect(.seconds(manifest.terminationGracePeriodSeconds) > grace)
    }

    @Test("a probe that fails grants what all phases of a shutdown take together")
    func probes() throws {
        let plan = ShutdownPlan(gracePeriod: .seconds(60))
        let phases = Phase.allCases.reduce(Duration.zero) { $0 + plan.budget(of: $1) }
        let granted = try Manifest().probeGracePeriodsSeconds
        #expect(granted.count == 2)
        #expect(granted.allSatisfy { .seconds($0) > phases })
    }

    /// The names of all samples that a recorder's segment declares.
    private func publishedNames() throws -> Set<String> {
        let directory = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: directory,
            withIntermediateDirectories: true
        )
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let publisher = try Publisher(
            directory: directory,
            name: "test",
            version: "0",
            phases: ShutdownPlan(gracePeriod: .seconds(60)).declared
        )
        _ = RecorderMetrics(publisher)
        var reader = SegmentReader(path: "\(directory)/test.telemetry")
        return try reader.snapshot().contents.families.reduce(into: []) { names, family in
            names.formUnion([family.name, family.name + "_bucket"])
        }
    }
}
