let recorderVersion = "0.1.0"

/// For the requests of this program.
let userAgent = "streamvault-recorder/\(recorderVersion)"
