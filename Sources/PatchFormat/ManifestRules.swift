/// The semantic bounds of a manifest: what must hold so that arithmetic on its numbers can't go wrong, and so that
/// the entries, stubs and tables it names lie where such things can lie.
package enum ManifestRules {
    static let maximumTargets = 64
    static let maximumItems = 1 << 20
    /// User-space addresses have 47 bits.
    static let addressLimit: UInt64 = 1 << 47
    static let maximumMemory: UInt64 = 1 << 30
    static let pageSize: UInt64 = 4096

    private struct Complaint: Error { var text: String }

    /// The first thing that is wrong, or nil.
    static func complaint(about manifest: Manifest) -> String? {
        do throws(Complaint) {
            try checkHead(manifest)
            try checkMembers(manifest)
            try checkGroups(manifest)
            for target in manifest.targets { try checkTarget(target, of: manifest) }
            return nil
        } catch {
            return "the manifest is not valid: \(error.text)"
        }
    }

    private static func require(_ condition: Bool, _ text: @autoclosure () -> String) throws(Complaint) {
        if !condition { throw Complaint(text: text()) }
    }

    // MARK: The whole

    private static func checkHead(_ manifest: Manifest) throws(Complaint) {
        try require(isIdentifier(manifest.id), "id")
        try require(manifest.sequence >= 0, "sequence")
        try require(manifest.created.map(isTime) ?? true, "created")
        try require(manifest.expires.map(isTime) ?? true, "expires")
        for references in [manifest.requires, manifest.supersedes] {
            try require(Set(references.map(\.id)).count == references.count, "a patch is referred to twice")
            for reference in references {
                try require(isIdentifier(reference.id) && reference.id != manifest.id, "a reference's id")
                try require(Digest.isDigest(reference.manifestDigest), "a reference's digest")
            }
        }
        try require(manifest.conflicts.allSatisfy(isIdentifier), "conflicts")
        let words = manifest.cves + manifest.decisions.flatMap { [$0.rule, $0.subject, $0.why] }
        try require(words.allSatisfy(isText), "a control character or too long a text")
        try checkOrigin(manifest.provenance)
    }

    /// Nothing is decided by it, but it is printed, and other documents are made of it.
    private static func checkOrigin(_ provenance: Provenance) throws(Complaint) {
        let (targets, objects) = (provenance.targets ?? [], provenance.objects ?? [])
        let words = [provenance.builder, provenance.linker].compactMap(\.self) + objects.map(\.name)
        try require((words + targets.map(\.file)).allSatisfy(isText), "a control character in the provenance")
        try require(targets.allSatisfy { Digest.isHexadecimal($0.buildID) }, "build-id in the provenance")
        let digests =
            targets.map(\.digest) + objects.flatMap { [$0.originalDigest, $0.newDigest] }
        try require(digests.allSatisfy(Digest.isDigest), "a digest in the provenance")
    }

    private static func checkMembers(_ manifest: Manifest) throws(Complaint) {
        let targets = manifest.targets
        try require((1...maximumTargets).contains(targets.count), "number of targets")
        try require(Set(targets.map(\.buildID)).count == targets.count, "a build-id stands twice")
        let modules = targets.map(\.module)
        let names = manifest.members.map(\.name)
        try require(
            names == modules || names == modules + [Bundle.reviewName], "members are not the targets' modules")
        for member in manifest.members {
            try require((1...Bundle.maximumSize).contains(member.size), "size of \(member.name)")
            try require(Digest.isDigest(member.digest), "digest of a member")
        }
    }

    /// No target is left without a group: a process could never take it.
    private static func checkGroups(_ manifest: Manifest) throws(Complaint) {
        guard let groups = manifest.groups else { return }
        let known = Set(manifest.targets.map(\.buildID))
        try require((1...maximumTargets).contains(groups.count), "number of groups")
        for group in groups {
            try require(!group.isEmpty && Set(group).count == group.count, "a group that is empty, or names one twice")
            try require(known.isSuperset(of: group), "a group names a target that the bundle has not")
        }
        try require(Set(groups.map(Set.init)).count == groups.count, "a group stands twice")
        try require(Set(groups.joined()) == known, "a target belongs to no group")
    }

    // MARK: A target

    private static func checkTarget(_ target: ManifestTarget, of manifest: Manifest) throws(Complaint) {
        try require(isText(target.file) && !target.file.isEmpty && !target.file.contains("/"), "name of a target")
        try require(Digest.isHexadecimal(target.buildID) && target.buildID.utf8.count <= 80, "build-id of a target")
        try require(target.module == "modules/\(target.buildID).so", "name of a module")
        try require(
            [target.functions.count, target.bindings.count, target.data.count, target.values.count].allSatisfy {
                $0 <= maximumItems
            },
            "number of items")
        try checkLayout(target.layout)
        try require(manifest.targets.count == 1 || target.layout.switchPointer != nil, "several targets, own switches")
        for function in target.functions { try checkFunction(function, target.layout, manifest.consistency) }
        try checkEntriesApart(target.functions)
        for binding in target.bindings { try checkBinding(binding, target.layout) }
        for item in target.data {
            try require(isText(item.name) && isText(item.object), "name of a data item")
            try require(item.size <= maximumMemory, "size of a data item")
        }
        try require(target.values.count <= ValuePatch.maximumCount, "number of values")
        for value in target.values { try checkValue(value) }
        let places = target.values.map { ($0.address, $0.address + UInt64($0.original.utf8.count / 2)) }.sorted {
            $0 < $1
        }
        for (first, second) in zip(places, places.dropFirst()) {
            try require(first.1 <= second.0, "two values overlap")
        }
    }

    private static func checkValue(_ value: ValuePatch) throws(Complaint) {
        try require(isText(value.name) && !value.name.isEmpty, "name of a value")
        let length = value.original.utf8.count
        try require(length > 0 && length % 2 == 0 && length / 2 <= ValuePatch.maximumSize, "size of a value")
        try require(value.new.utf8.count == length && value.new != value.original, "a value's new bytes")
        try require(Digest.isHexadecimal(value.original) && Digest.isHexadecimal(value.new), "bytes of a value")
        try require(value.address < addressLimit, "address of a value")
        try require(value.address % 8 + UInt64(length / 2) <= 8, "a value crosses an aligned word")
    }

    private static func checkLayout(_ layout: ModuleLayout) throws(Complaint) {
        try require((1...maximumMemory).contains(layout.memorySize), "memorySize")
        try require(isInside(layout.switchAddress, 1, layout), "switchAddress")
        if let pointer = layout.switchPointer {
            try require(isInside(pointer, 8, layout) && pointer % 8 == 0, "switchPointer")
        }
        try require((0...maximumItems).contains(layout.bindingCount), "bindingCount")
        let tableSize = UInt64(layout.bindingCount * BindingRecord.size)
        try require(isInside(layout.bindingTable, tableSize, layout), "bindingTable")
        if let unwind = layout.unwind {
            try require(isInside(unwind.table.address, unwind.table.size, layout), "unwind table")
            try require(
                isInside(unwind.object, ModuleUnwind.objectSize, layout) && unwind.object % 8 == 0, "unwind object")
        }
        if let array = layout.initializers {
            try require(
                array.size > 0 && array.size % 8 == 0 && array.address % 8 == 0
                    && isInside(array.address, array.size, layout), "initializers")
        }
    }

    private static func checkBinding(_ binding: Binding, _ layout: ModuleLayout) throws(Complaint) {
        try require(isText(binding.symbol), "symbol of a binding")
        try require(isText(binding.version ?? "") && isText(binding.library ?? ""), "version of a binding")
        if let chosen = binding.chosenAs {
            try require(
                binding.kind == .target && isText(chosen.name) && isText(chosen.version ?? ""), "chosenAs of a binding")
        }
        switch binding.kind {
        case .target, .threadLocal: try require(binding.address < addressLimit, "address of a binding")
        case .slot: try require(binding.address < addressLimit && binding.address % 8 == 0, "slot of a binding")
        case .module: try require(binding.address <= layout.memorySize, "address of a binding in the module")
        case .imported: try require(!binding.symbol.isEmpty, "symbol of an imported binding")
        }
    }

    // MARK: Functions

    private static func checkFunction(
        _ function: PatchedFunction, _ layout: ModuleLayout, _ consistency: Consistency
    ) throws(Complaint) {
        try require(!function.name.isEmpty && isText(function.name), "name of a function")
        let name = function.name
        try require(isText(function.object) && isText(function.reason), "\(name): object or reason")
        for range in function.newRanges + function.oldRanges {
            try require(isInside(range.address, range.size, layout), "\(name): a range in the module")
        }
        try require((function.change == .changed) == (function.original != nil), "\(name): change and original")
        guard let original = function.original else {
            return try require(function.stub == nil && function.oldSlot == nil, "\(name): a new function with a stub")
        }
        try require(function.newRanges.first.map { $0.size > 0 } ?? false, "\(name): no new body")
        try require(function.stub.map { isInside($0, 1, layout) } ?? false, "\(name): stub")
        try require(function.oldSlot.map { isInside($0, 8, layout) && $0 % 8 == 0 } ?? false, "\(name): oldSlot")
        try checkOriginal(original, name)
        try require(original.entry.kind == .padded || !function.oldRanges.isEmpty, "\(name): no copy of the original")
        try require(!original.abiCoupled || consistency == .stack, "\(name): entry consistency refused (ipa-contract)")
    }

    private static func checkOriginal(_ original: OriginalFunction, _ name: String) throws(Complaint) {
        for range in [original.range] + original.coldRanges {
            try require(
                range.size > 0 && range.address < addressLimit && range.size < maximumMemory,
                "\(name): a range in the target")
        }
        try require(Digest.isDigest(original.digest), "\(name): digest")
        try require(original.aliases.allSatisfy(isText), "\(name): aliases")
        if let symbol = original.chosenAs {
            try require(isText(symbol.name) && isText(symbol.version ?? ""), "\(name): chosenAs")
        }
        let entry = original.entry
        // Pads before the entry make the jump's offset negative.
        try require((-4096...4096).contains(entry.jumpOffset), "\(name): jumpOffset")
        try require((0...4096).contains(entry.resumeOffset), "\(name): resumeOffset")
        let size = Int(original.range.size)
        switch entry.kind {
        case .padded: try require(entry.resumeOffset <= size, "\(name): resumeOffset")
        case .bare: try require(entry.jumpOffset >= 0 && entry.resumeOffset == 0, "\(name): bare entry")
        case .none: throw Complaint(text: "\(name): its entry can't take a jump")
        }
        try require(entry.jumpOffset + Entry.jumpLength <= size, "\(name): the jump is longer than the function")
        guard let place = jumpPlace(original) else { throw Complaint(text: "\(name): the jump lies before address 0") }
        try require(
            place / pageSize == (place + UInt64(Entry.jumpLength) - 1) / pageSize,
            "\(name): the entry crosses a page (killed-between-entries)")
    }

    /// Address of the 5-byte jump.
    private static func jumpPlace(_ original: OriginalFunction) -> UInt64? {
        UInt64(exactly: Int(original.range.address) + original.entry.jumpOffset)
    }

    /// No two jumps share a byte.
    private static func checkEntriesApart(_ functions: [PatchedFunction]) throws(Complaint) {
        let places = functions.compactMap { $0.original.flatMap(jumpPlace) }.sorted()
        for (first, second) in zip(places, places.dropFirst()) {
            try require(second - first >= UInt64(Entry.jumpLength), "two entries overlap")
        }
    }

    // MARK: Small things

    private static func isInside(_ address: UInt64, _ size: UInt64, _ layout: ModuleLayout) -> Bool {
        size <= layout.memorySize && address <= layout.memorySize - size
    }

    /// What can be typed on a command line and used in a file's name.
    package static func isIdentifier(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count) && text.utf8.first != 0x2d && text.utf8.first != 0x2e
            && text.utf8.allSatisfy { (0x21...0x7e).contains($0) && $0 != 0x2f }
    }

    /// No control characters: names are printed on terminals.
    private static func isText(_ text: String) -> Bool {
        text.utf8.count <= 1 << 16 && text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
    }

    /// `2026-01-31T12:00:00Z`
    private static func isTime(_ text: String) -> Bool {
        let pattern = Array("0000-00-00T00:00:00Z".utf8)
        let bytes = Array(text.utf8)
        return bytes.count == pattern.count
            && zip(bytes, pattern).allSatisfy { $1 == 0x30 ? (0x30...0x39).contains($0) : $0 == $1 }
    }
}
