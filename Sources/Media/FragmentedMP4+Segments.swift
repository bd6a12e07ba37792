extension FragmentedMP4 {
    /// Whether `bytes` are the header of a file: whole boxes, `ftyp` first, and a `moov`.
    package static func isHeader(_ bytes: [UInt8]) -> Bool {
        var (first, hasMovie) = (String?.none, false)
        let areWhole = forEachType(of: bytes) { type in
            first = first ?? type
            hasMovie = hasMovie || type == "moov"
        }
        return areWhole && first == "ftyp" && hasMovie
    }

    /// Whether `bytes` are whole boxes, and among them fragments: each `moof` with its `mdat`.
    package static func isFragments(_ bytes: [UInt8]) -> Bool {
        var (first, last, hasMovie) = (String?.none, String?.none, false)
        let areWhole = forEachType(of: bytes) { type in
            hasMovie = hasMovie || type == "moov"
            guard type == "moof" || type == "mdat" else { return }
            (first, last) = (first ?? type, type)
        }
        return areWhole && !hasMovie && first == "moof" && last == "mdat"
    }

    /// Hands over the types of boxes, one by one, for there may be millions; whether they follow each other to the last byte.
    private static func forEachType(of bytes: [UInt8], _ body: (String) -> Void) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            guard let box = BoxHeader(rest), box.size <= rest.count else { return false }
            body(box.type)
            rest = rest.dropFirst(box.size)
        }
        return true
    }
}
