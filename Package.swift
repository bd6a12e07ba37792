// swift-tools-version: 6.2

import PackageDescription

/// Tests take these, without strict memory safety: they corrupt memory on purpose.
let testing: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let strict = testing + [.strictMemorySafety()]

let package = Package(
    name: "streamvault",
    products: [
        .executable(name: "streamvault-recorder", targets: ["Recorder"]),
        .executable(name: "streamvault-exporter", targets: ["Exporter"]),
        .library(name: "StreamVaultTelemetry", targets: ["StreamVaultTelemetry"]),
    ],
    targets: [
        .systemLibrary(name: "CLinux"),
        .target(name: "Posix", dependencies: ["CLinux"], swiftSettings: strict),
        .target(name: "CommandLine", dependencies: ["Posix"], swiftSettings: strict),
        .target(name: "JSON", dependencies: ["Posix"], swiftSettings: strict),
        .target(name: "HTTP", dependencies: ["Posix"], swiftSettings: strict),
        .target(
            name: "StreamVaultTelemetry",
            dependencies: ["Posix"],
            path: "Sources/Telemetry",
            swiftSettings: strict
        ),
        .systemLibrary(
            name: "CSQLite",
            pkgConfig: "sqlite3",
            providers: [.apt(["libsqlite3-dev"])]
        ),
        .systemLibrary(
            name: "CCurl",
            pkgConfig: "libcurl",
            providers: [.apt(["libcurl4-openssl-dev"])]
        ),
        .systemLibrary(
            name: "CCrypto",
            pkgConfig: "libcrypto",
            providers: [.apt(["libssl-dev"])]
        ),
        .target(name: "Media", dependencies: ["Posix"], swiftSettings: strict),
        .target(name: "Fetch", dependencies: ["Posix", "CCurl"], swiftSettings: strict),
        .target(
            name: "Catalogue",
            dependencies: ["Posix", "Media", "CSQLite"],
            swiftSettings: strict
        ),
        .target(
            name: "HLS",
            dependencies: ["Posix", "Media", "Fetch", "CCrypto"],
            swiftSettings: strict
        ),
        .target(
            name: "Ingest",
            dependencies: ["Posix", "JSON", "StreamVaultTelemetry"],
            swiftSettings: strict
        ),
        .executableTarget(
            name: "Exporter",
            dependencies: [
                "Posix", "CommandLine", "JSON", "HTTP", "StreamVaultTelemetry", "Ingest",
            ],
            swiftSettings: strict
        ),
        .target(
            name: "Twitch",
            dependencies: ["Posix", "JSON", "HTTP", "Fetch", "CCrypto"],
            swiftSettings: strict
        ),
        .target(
            name: "WebSocket",
            dependencies: ["Posix", "HTTP", "CCrypto"],
            swiftSettings: strict
        ),
        .executableTarget(
            name: "Recorder",
            dependencies: [
                "Posix", "CommandLine", "JSON", "HTTP", "StreamVaultTelemetry", "Media", "Fetch",
                "HLS", "Twitch", "WebSocket", "Catalogue",
            ],
            swiftSettings: strict
        ),
        .target(
            name: "BenchFloor",
            path: "bench/Floor",
            cSettings: [.treatAllWarnings(as: .error)]
        ),
        .executableTarget(
            name: "PublisherBench",
            dependencies: ["StreamVaultTelemetry", "BenchFloor"],
            path: "bench/PublisherBench",
            swiftSettings: strict
        ),
        .executableTarget(
            name: "Fleet",
            dependencies: ["StreamVaultTelemetry", "Posix"],
            path: "bench/Fleet",
            swiftSettings: strict
        ),
        .testTarget(name: "PosixTests", dependencies: ["Posix"], swiftSettings: testing),
        .testTarget(
            name: "CommandLineTests",
            dependencies: ["CommandLine"],
            swiftSettings: testing
        ),
        .target(
            name: "TestSupport",
            dependencies: ["HTTP", "Posix"],
            path: "Tests/TestSupport",
            swiftSettings: testing
        ),
        .testTarget(
            name: "JSONTests",
            dependencies: ["JSON", "Posix", "TestSupport"],
            swiftSettings: testing
        ),
        .testTarget(
            name: "HTTPTests",
            dependencies: ["HTTP", "Posix", "TestSupport"],
            swiftSettings: testing
        ),
        .target(
            name: "TelemetryStage",
            dependencies: ["StreamVaultTelemetry", "Posix"],
            path: "Tests/TelemetryStage",
            swiftSettings: testing
        ),
        .executableTarget(
            name: "TelemetryFixture",
            dependencies: ["StreamVaultTelemetry", "TelemetryStage", "Posix"],
            path: "Tests/TelemetryFixture",
            swiftSettings: testing
        ),
        .testTarget(
            name: "TelemetryTests",
            dependencies: ["StreamVaultTelemetry", "Posix", "TelemetryFixture", "TestSupport"],
            exclude: ["Fixtures"],
            swiftSettings: testing
        ),
        .testTarget(
            name: "IngestTests",
            dependencies: [
                "Ingest", "StreamVaultTelemetry", "TelemetryStage", "TestSupport", "Posix",
            ],
            swiftSettings: testing
        ),
        .testTarget(
            name: "ExporterTests",
            dependencies: [
                "Exporter", "StreamVaultTelemetry", "TelemetryStage", "TestSupport", "HTTP",
                "Ingest",
                "CommandLine", "JSON", "Posix",
            ],
            exclude: ["Fixtures"],
            swiftSettings: testing
        ),
        .testTarget(
            name: "TwitchTests",
            dependencies: ["Twitch", "Fetch", "HTTP", "Posix", "TestSupport"],
            swiftSettings: testing
        ),
        .testTarget(
            name: "WebSocketTests",
            dependencies: ["WebSocket", "HTTP", "TestSupport"],
            swiftSettings: testing
        ),
        .testTarget(
            name: "FetchTests",
            dependencies: ["Fetch", "Posix", "TestSupport"],
            swiftSettings: testing
        ),
        .testTarget(
            name: "HLSTests",
            dependencies: ["HLS", "Fetch", "Media", "Posix", "TestSupport"],
            swiftSettings: testing
        ),
        .testTarget(
            name: "RecorderTests",
            dependencies: [
                "Recorder", "TestSupport", "StreamVaultTelemetry", "HTTP", "CommandLine", "JSON",
                "Posix", "Catalogue", "Media", "Fetch", "HLS", "Twitch", "WebSocket",
            ],
            swiftSettings: testing
        ),
        .testTarget(
            name: "DeploymentTests",
            dependencies: [
                "Recorder", "Exporter", "StreamVaultTelemetry", "CommandLine", "Posix",
            ],
            swiftSettings: testing
        ),
        .testTarget(
            name: "EndToEndTests",
            dependencies: ["Recorder", "Exporter", "StreamVaultTelemetry"],
            swiftSettings: testing
        ),
    ]
)
