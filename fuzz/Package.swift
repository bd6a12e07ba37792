// swift-tools-version: 6.2

import PackageDescription

// A package of its own: these programs have no main but libFuzzer's, and take parts of both programs as libraries.

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

/// One kind of bytes that strangers control.
func fuzzer(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: "Fuzz\(name)",
        dependencies: dependencies,
        path: "Targets/\(name)",
        swiftSettings: settings
    )
}

let package = Package(
    name: "fuzz",
    targets: [
        .target(name: "Posix", swiftSettings: settings),
        .target(name: "HTTP", dependencies: ["Posix"], swiftSettings: settings),
        .target(
            name: "StreamVaultTelemetry",
            dependencies: ["Posix"],
            path: "Sources/Telemetry",
            swiftSettings: settings
        ),
        .target(
            name: "Exporter",
            dependencies: ["Posix", "HTTP", "StreamVaultTelemetry"],
            exclude: ["Main.swift"],
            swiftSettings: settings
        ),
        .target(
            name: "Playlists",
            dependencies: ["Posix"],
            path: "Sources/Recorder/HLS/Playlists",
            swiftSettings: settings
        ),
        fuzzer("Request", ["HTTP"]),
        fuzzer("Accept", ["Exporter"]),
        fuzzer("Segment", ["Exporter", "StreamVaultTelemetry"]),
        fuzzer("Ingest", ["Exporter", "Posix", "StreamVaultTelemetry"]),
        fuzzer("Playlist", ["Playlists", "Posix"]),
        .executableTarget(
            name: "RequestReader",
            dependencies: ["HTTP"],
            path: "Targets/RequestReader",
            swiftSettings: settings
        ),
    ]
)
