extension FragmentedMP4 {
    /// Whether `bytes` are the header of a file: whole boxes, `ftyp` first, and a `moov`.
    static func isHeader(_ bytes: [UInt8]) -> Bool {
        guard let types = types(of: bytes) else { return false }
        return types.first == "ftyp" && types.contains("moov")
    }

    /// Whether `bytes` are whole boxes, and among them fragments: each `moof` with its `mdat`.
    static func isFragments(_ bytes: [UInt8]) -> Bool {
        guard let types = types(of: bytes), !types.contains("moov") else { return false }
        let fragments = types.filter { $0 == "moof" || $0 == "mdat" }
        return fragments.first == "moof" && fragments.last == "mdat"
    }

    /// The types of the boxes that follow each other from the first byte to the last; `nil` where they do not.
    private static func types(of bytes: [UInt8]) -> [String]? {
        var types: [String] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            guard let box = BoxHeader(rest), box.size <= rest.count else { return nil }
            types.append(box.type)
            rest = rest.dropFirst(box.size)
        }
        return types
    }
}
