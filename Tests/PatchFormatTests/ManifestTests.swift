import ElfFormat
import Testing

@testable import PatchFormat

@Suite struct ManifestTests {
    /// The rule by which the sample manifest is refused after `change`, with its members filled in.
    private func refusal(_ change: (inout Manifest) -> Void) -> String? {
        var manifest = Samples.manifest()
        manifest.members = [
            MemberDigest(name: manifest.targets[0].module, size: 1, digest: Digest.sha256([0]))
        ]
        change(&manifest)
        return Samples.rule { try manifest.validate() }
    }

    private func refusesFunction(_ change: (inout PatchedFunction) -> Void) -> Bool {
        refusal { change(&$0.targets[0].functions[0]) } == "bad-bundle"
    }

    @Test func theSampleIsValid() { #expect(refusal { _ in } == nil) }

    @Test func rangesOfTheModuleStayInside() {
        #expect(refusesFunction { $0.newRanges[0].address = .max })
        #expect(refusesFunction { $0.newRanges[0].size = .max })
        #expect(refusesFunction { $0.oldRanges[0] = AddressRange(address: 0x3fff, size: 2) })
        #expect(refusesFunction { $0.stub = 0x4000 })
        #expect(refusesFunction { $0.oldSlot = 0x3ffc })
        #expect(refusesFunction { $0.oldSlot = nil })
        #expect(refusesFunction { $0.newRanges = [] })
    }

    @Test func rangesOfTheTargetDoNotOverflow() {
        #expect(refusesFunction { $0.original!.range.address = .max })
        #expect(refusesFunction { $0.original!.range.size = .max })
        #expect(refusesFunction { $0.original!.range.size = 0 })
        #expect(refusesFunction { $0.original!.coldRanges = [AddressRange(address: 1, size: .max)] })
    }

    @Test func entriesMustTakeTheJump() {
        #expect(refusesFunction { $0.original!.entry.kind = .none })
        #expect(refusesFunction { $0.original!.range.size = 4 })
        #expect(refusesFunction { $0.original!.entry.jumpOffset = .min })
        #expect(refusesFunction { $0.original!.entry.jumpOffset = .max })
        #expect(refusesFunction { $0.original!.entry.resumeOffset = 5 })
        #expect(refusesFunction { $0.oldRanges = [] })
    }

    @Test("trap killed-between-entries: an entry that crosses a page is refused")
    func crossingPage() {
        #expect(refusesFunction { $0.original!.range.address = 0x1ffd })
        #expect(!refusesFunction { $0.original!.range.address = 0x1ffb })
    }

    @Test func valuesAreWordsOfTheirOwn() {
        func refuses(_ values: [ValuePatch]) -> Bool { refusal { $0.targets[0].values = values } != nil }
        func value(_ address: UInt64, _ original: String, _ new: String) -> ValuePatch {
            ValuePatch(name: "limit", address: address, original: original, new: new)
        }
        #expect(!refuses([value(0x4004, "0a000000", "14000000"), value(0x4008, "0a", "0b")]))
        #expect(refuses([value(0x4006, "0a000000", "14000000")]))
        #expect(refuses([value(0x4000, "000000000000000000", "010000000000000000")]))
        #expect(refuses([value(0x4000, "0a00", "1400"), value(0x4001, "00", "01")]))
        #expect(refuses([value(0x4000, "0a", "0a")]) && refuses([value(0x4000, "", "")]))
    }

    @Test func entriesDoNotOverlap() {
        let twice = refusal { manifest in
            var second = Samples.function()
            second.name = "alias"
            second.original!.range.address += 4
            manifest.targets[0].functions.append(second)
        }
        #expect(twice == "bad-bundle")
    }

    @Test("trap ipa-contract: entry consistency is refused for an ABI-coupled function")
    func ipaContract() {
        let refused = refusal {
            $0.consistency = .entry
            $0.targets[0].functions[0].original!.abiCoupled = true
        }
        #expect(refused == "bad-bundle")
    }

    @Test func layoutStaysInside() {
        #expect(refusal { $0.targets[0].layout.memorySize = .max } == "bad-bundle")
        #expect(refusal { $0.targets[0].layout.bindingCount = .max } == "bad-bundle")
        #expect(refusal { $0.targets[0].layout.bindingCount = -1 } == "bad-bundle")
        #expect(refusal { $0.targets[0].layout.bindingTable = 0x3fff } == "bad-bundle")
        #expect(refusal { $0.targets[0].layout.switchAddress = 0x4000 } == "bad-bundle")
        #expect(refusal { $0.targets[0].layout.switchPointer = 0x3ffc } == "bad-bundle")
    }

    @Test func namesAreChecked() {
        #expect(refusal { $0.id = "" } == "bad-bundle")
        #expect(refusal { $0.id = "a/b" } == "bad-bundle")
        #expect(refusal { $0.id = "-rf" } == "bad-bundle")
        #expect(refusal { $0.targets[0].file = "../x" } == "bad-bundle")
        #expect(refusal { $0.targets[0].buildID = "XY" } == "bad-bundle")
        #expect(refusal { $0.targets[0].functions[0].name = "a\u{1b}[2J" } == "bad-bundle")
        #expect(refusal { $0.targets = [] } == "bad-bundle")
        #expect(refusal { $0.expires = "tomorrow" } == "bad-bundle")
        #expect(refusal { $0.expires = "2099-01-01T00:00:00Z" } == nil)
        #expect(refusal { $0.sequence = -1 } == "bad-bundle")
        #expect(refusal { $0.members[0].digest = "0" } == "bad-bundle")
    }

    @Test func groupsNameEveryTargetAndNoOther() {
        #expect(refusal { $0.groups = [[Samples.buildID]] } == nil)
        #expect(refusal { $0.groups = [] } != nil)
        #expect(refusal { $0.groups = [[]] } != nil)
        #expect(refusal { $0.groups = [[Samples.buildID, Samples.buildID]] } != nil)
        #expect(refusal { $0.groups = [[Samples.buildID], [Samples.buildID]] } != nil)
        #expect(refusal { $0.groups = [["00"]] } != nil)
    }

    @Test func aProcessTakesWholeGroups() {
        func target(_ name: String) -> ManifestTarget {
            var target = Samples.manifest().targets[0]
            (target.file, target.buildID) = (name, name)
            return target
        }
        var manifest = Manifest(id: "fix", targets: ["a", "b", "c"].map(target))
        func taken(_ mapped: Set<String>) -> [String] { manifest.taken(byMapping: mapped).map(\.buildID) }
        #expect(taken(["a", "b"]) == [] && taken(["c", "b", "a", "z"]) == ["a", "b", "c"])
        #expect(manifest.canTake(["a", "b", "c"]) && !manifest.canTake(["a"]))
        manifest.groups = [["b", "a"], ["b"], ["c", "b"]]
        #expect(taken([]) == [] && taken(["a"]) == [] && taken(["a", "c"]) == [])
        #expect(
            taken(["b"]) == ["b"] && taken(["a", "b"]) == ["a", "b"] && taken(["a", "b", "c"]) == ["a", "b", "c"])
        #expect(manifest.canTake(["b"]) && manifest.canTake(["b", "c"]) && manifest.canTake(["a", "b"]))
        #expect(!manifest.canTake([]) && !manifest.canTake(["a", "c"]) && !manifest.canTake(["b", "a"]))
        #expect(!manifest.canTake(["b", "b"]) && !manifest.canTake(["b", "z"]))
    }

    @Test func bindingRecordsAreChecked() throws {
        var table = [UInt8](repeating: 0, count: 24)
        table[0] = 0x10  // place: table + 0x10
        table[4] = 2  // R_X86_64_PC32
        table[16] = 0xfc
        for index in 17..<24 { table[index] = 0xff }
        let layout = Samples.manifest().targets[0].layout
        let records = try BindingRecord.decode(table: table, layout: layout, bindingCount: 1)
        #expect(records == [BindingRecord(place: 0x2010, type: .pc32, binding: 0, addend: -4)])
        func refuses(_ offset: Int, _ byte: UInt8) -> Bool {
            var changed = table
            changed[offset] = byte
            let rule = Samples.rule { _ = try BindingRecord.decode(table: changed, layout: layout, bindingCount: 1) }
            return rule == "bad-bundle"
        }
        #expect(refuses(2, 0x7f) && refuses(3, 0x80) && refuses(4, 6) && refuses(8, 1) && refuses(12, 1))
        #expect(Samples.rule { _ = try BindingRecord.decode(table: [], layout: layout, bindingCount: 1) } != nil)
    }
}
