/// As `--version` and the metrics tell it.
let exporterVersion = "0.1.0"
