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
        .systemLibrary(name: "CLinux"),
        .target(name: "Posix", dependencies: ["CLinux"], swiftSettings: settings),
        .target(name: "CommandLine", dependencies: ["Posix"], swiftSettings: settings),
        .target(name: "JSON", dependencies: ["Posix"], swiftSettings: settings),
        .target(name: "HTTP", dependencies: ["Posix"], swiftSettings: settings),
        .target(
            name: "StreamVaultTelemetry",
            dependencies: ["Posix"],
            path: "Sources/Telemetry",
            swiftSettings: settings
        ),
        .target(
            name: "Ingest",
            dependencies: ["Posix", "JSON", "StreamVaultTelemetry"],
            swiftSettings: settings
        ),
        .target(
            name: "Exporter",
            dependencies: [
                "Posix", "CommandLine", "JSON", "HTTP", "StreamVaultTelemetry", "Ingest",
            ],
            exclude: ["Main.swift"],
            swiftSettings: settings
        ),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3"),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl"),
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto"),
        .target(name: "Media", dependencies: ["Posix"], swiftSettings: settings),
        .target(name: "Fetch", dependencies: ["Posix", "CCurl"], swiftSettings: settings),
        .target(
            name: "Catalogue",
            dependencies: ["Posix", "Media", "CSQLite"],
            swiftSettings: settings
        ),
        .target(
            name: "HLS",
            dependencies: ["Posix", "Media", "Fetch", "CCrypto"],
            swiftSettings: settings
        ),
        .target(
            name: "Twitch",
            dependencies: ["Posix", "JSON", "HTTP", "Fetch", "CCrypto"],
            swiftSettings: settings
        ),
        .target(
            name: "WebSocket",
            dependencies: ["Posix", "HTTP", "CCrypto"],
            swiftSettings: settings
        ),
        .target(
            name: "Recorder",
            dependencies: [
                "Posix", "CommandLine", "JSON", "HTTP", "StreamVaultTelemetry", "Media", "Fetch",
                "HLS", "Twitch", "WebSocket", "Catalogue",
            ],
            exclude: ["Main.swift"],
            swiftSettings: settings
        ),
        .target(
            name: "FuzzSupport",
            dependencies: ["HTTP", "Posix"],
            path: "Targets/Support",
            swiftSettings: settings
        ),
        fuzzer("Request", ["HTTP"]),
        fuzzer("Accept", ["Exporter"]),
        fuzzer("Segment", ["Exporter", "FuzzSupport", "JSON", "Posix", "StreamVaultTelemetry"]),
        fuzzer("Ingest", ["Ingest", "FuzzSupport", "Posix", "StreamVaultTelemetry"]),
        fuzzer("Playlist", ["Recorder", "Posix", "Fetch", "HLS"]),
        fuzzer("Sequence", ["Recorder", "Fetch", "Media", "FuzzSupport", "Posix", "HLS"]),
        fuzzer("Configuration", ["Recorder", "FuzzSupport", "JSON", "Posix"]),
        fuzzer("EventSub", ["Twitch", "Fetch", "FuzzSupport", "HTTP", "Posix"]),
        fuzzer("WebSocket", ["WebSocket", "FuzzSupport", "HTTP", "Posix"]),
        fuzzer("Media", ["Recorder", "Media", "FuzzSupport", "CCrypto", "Posix", "HLS"]),
        fuzzer("Catalogue", ["Recorder", "Catalogue", "Media", "FuzzSupport", "Posix"]),
        fuzzer("Stderr", ["Recorder", "Fetch", "FuzzSupport"]),
        fuzzer("Token", ["Recorder", "FuzzSupport", "HTTP", "Fetch", "Posix"]),
        fuzzer("Answer", ["Recorder", "Fetch", "Twitch", "FuzzSupport", "JSON", "Posix"]),
        fuzzer("Response", ["Recorder", "Fetch", "FuzzSupport", "Posix"]),
        fuzzer(
            "API",
            [
                "Recorder", "Catalogue", "Fetch", "Media", "Twitch", "WebSocket", "FuzzSupport",
                "HTTP",
                "Posix", "StreamVaultTelemetry",
            ]
        ),
        fuzzer(
            "Page",
            ["Exporter", "CommandLine", "FuzzSupport", "HTTP", "Posix", "StreamVaultTelemetry"]
        ),
        .executableTarget(
            name: "RequestReader",
            dependencies: ["HTTP"],
            path: "Targets/RequestReader",
            swiftSettings: settings
        ),
    ]
)
