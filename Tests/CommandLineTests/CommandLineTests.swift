import Testing

@testable import CommandLine

private let table = CommandLineTable(
    program: "tool",
    summary: "does things.",
    flags: [
        CommandLineFlag("config", .text("FILE"), help: "The file.", isRequired: true),
        CommandLineFlag("web.listen-address", .list("ADDRESS"), help: "Where.", defaultText: ":1"),
        CommandLineFlag("grace", .duration(.seconds(3)...(.seconds(60))), help: "How long."),
        CommandLineFlag("dry-run", .boolean, help: "Only look."),
    ]
)

private func values(
    _ arguments: [String],
    _ environment: [String: String] = [:]
) throws -> CommandLineValues {
    let request = try table.parse(arguments, environment: environment)
    guard case .run(let values) = request else { throw CommandLineError("no values") }
    return values
}

@Test("a value follows the flag or an equals sign")
func flagSpellings() throws {
    let given = try values(["--config=a=b", "--grace", "5s", "--dry-run"])
    #expect(given.text("config") == "a=b")
    #expect(given.duration("grace") == .seconds(5))
    #expect(given.isOn("dry-run"))
    #expect(try !values(["--config", "-", "--dry-run=false"]).isOn("dry-run"))
}

@Test("a list collects; a flag overrides its variable, a list all of its variable's values")
func flagsAndEnvironment() throws {
    let environment = [
        "STREAMVAULT_CONFIG": "env", "STREAMVAULT_WEB_LISTEN_ADDRESS": ":3,:4",
        "STREAMVAULT_GRACE": "", "STREAMVAULT_PORT": "tcp://10.0.0.1:80",
        "STREAMVAULT_DRY_RUN": "1",
    ]
    let alone = try values([], environment)
    #expect(alone.text("config") == "env")
    #expect(alone.all("web.listen-address") == [":3", ":4"])
    #expect(alone.duration("grace") == nil)
    #expect(alone.isOn("dry-run"))

    let flags = ["--config", "c", "--web.listen-address", ":1", "--web.listen-address=:2"]
    let both = try values(flags + ["--dry-run=0"], environment)
    #expect(both.text("config") == "c")
    #expect(both.all("web.listen-address") == [":1", ":2"])
    #expect(!both.isOn("dry-run"))
}

@Test(
    "an invalid command line gives one clear line",
    arguments: [
        ([], "--config is required (or STREAMVAULT_CONFIG)"),
        (["--confg", "x"], "--confg: unknown flag, see --help"),
        (["-c", "x"], "-c: unknown flag, see --help"),
        (["--config"], "--config: needs a value"),
        (["--config", "--dry-run"], "--config: needs a value"),
        (["--config="], "--config: must not be empty"),
        (["--config=a", "--config=b"], "--config: given twice"),
        (["--config=a", "b"], "b: unexpected argument, see --help"),
        (["--config=a", "--", "b"], "b: unexpected argument, see --help"),
        (
            ["--grace", "60"],
            "--grace: \"60\" is not a duration, such as 500ms, 1.5s, 60s, 2m or 1h30m"
        ),
        (["--grace=1s"], "--grace: must be between 3s and 60s, not 1s"),
        (["--dry-run=maybe"], "--dry-run: \"maybe\" is neither true nor false"),
    ] as [([String], String)]
)
func refusedCommandLine(_ arguments: [String], says line: String) {
    #expect(throws: CommandLineError(line)) { try table.parse(arguments, environment: [:]) }
}

@Test("a mistake in a variable names the variable")
func refusedVariable() {
    let line = "STREAMVAULT_GRACE: must be between 3s and 60s, not 2m"
    #expect(throws: CommandLineError(line)) {
        try table.parse(["--config=a"], environment: ["STREAMVAULT_GRACE": "2m"])
    }
}

@Test("help and version end the parsing, whatever else is missing")
func helpAndVersion() throws {
    #expect(try table.parse(["--version", "--nope"], environment: [:]) == .version)
    #expect(try table.parse(["-h"], environment: [:]) == .help(table.helpText))
    #expect(
        table.helpText == """
            tool: does things.

            Usage: tool --config FILE [FLAG]...

            Flags:
              --config FILE
                    The file. (required)
                    [STREAMVAULT_CONFIG]
              --web.listen-address ADDRESS
                    Where. (default :1; may be repeated)
                    [STREAMVAULT_WEB_LISTEN_ADDRESS]
              --grace DURATION
                    How long. (3s to 60s)
                    [STREAMVAULT_GRACE]
              --dry-run
                    Only look.
                    [STREAMVAULT_DRY_RUN]
              --help, -h
                    Print this text.
              --version
                    Print the version.

            A flag is written --flag VALUE or --flag=VALUE. The variable in brackets sets the flag if
            it is not given; a list in a variable is separated by commas. Durations need a unit: h, m,
            s or ms.

            """
    )
}

@Test("operands are kept if the table allows them")
func operands() throws {
    let table = CommandLineTable(
        program: "tool",
        summary: "",
        operands: "[dump FILE]",
        flags: [CommandLineFlag("dry-run", .boolean, help: "")]
    )
    let request = try table.parse(["dump", "--dry-run", "--", "--file"], environment: [:])
    guard case .run(let values) = request else { throw CommandLineError("no values") }
    #expect(values.operands == ["dump", "--file"])
    #expect(values.isOn("dry-run"))
    #expect(table.helpText.contains("Usage: tool [FLAG]... [dump FILE]\n"))
}
