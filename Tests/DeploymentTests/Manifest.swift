import Foundation

/// The text of a file of the repository, such as `k8s/base/statefulset.yaml`.
func deployed(_ path: String) throws -> String {
    let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
    return try String(contentsOf: root.appending(path: path), encoding: .utf8)
}

/// What the StatefulSet says, read line by line: Swift has no YAML.
struct Manifest {
    /// The arguments of each container, by its name: `["recorder": ["--config": "/etc/…"]]`.
    private(set) var flags: [String: [String: String]] = [:]
    private(set) var terminationGracePeriodSeconds = 0
    /// Of probes: what a container gets whose probe failed.
    private(set) var probeGracePeriodsSeconds: [Int] = []

    init() throws {
        var container = ""
        for line in try deployed("k8s/base/statefulset.yaml").split(separator: "\n") {
            if let name = line.wholeMatch(of: /\ {8}- name: (\w+)/) {
                container = String(name.1)
            } else if let flag = line.wholeMatch(of: /\ {12}- (--[a-z.-]+)=(.*)/) {
                flags[container, default: [:]][String(flag.1)] = String(flag.2)
            } else if let period = line.wholeMatch(
                of: /\ {6}terminationGracePeriodSeconds: (\d+)/
            ) {
                terminationGracePeriodSeconds = Int(period.1) ?? 0
            } else if let period = line.wholeMatch(
                of: /\ {12}terminationGracePeriodSeconds: (\d+)/
            ) {
                probeGracePeriodsSeconds.append(Int(period.1) ?? 0)
            }
        }
    }
}
