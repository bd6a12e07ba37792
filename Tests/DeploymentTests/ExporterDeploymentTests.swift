import CommandLine
import Posix
import Testing

@testable import Exporter

@Suite("Deployment of the exporter")
struct ExporterDeploymentTests {
    @Test("every flag of the manifest exists")
    func flags() throws {
        let known = Set(Arguments.table.flags.map { "--" + $0.name })
        let given = try #require(try Manifest().flags["exporter"])
        #expect(!given.isEmpty)
        #expect(Set(given.keys).subtracting(known).isEmpty)
    }

    @Test("the grace period that the exporter is told is the pod's")
    func gracePeriod() throws {
        let manifest = try Manifest()
        let text = try #require(manifest.flags["exporter"]?["--termination-grace-period"])
        #expect(Duration(text: text) == .seconds(manifest.terminationGracePeriodSeconds))
    }
}
