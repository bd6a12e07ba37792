/// As `--version` and the User-Agent tell it.
let recorderVersion = "0.1.0"
