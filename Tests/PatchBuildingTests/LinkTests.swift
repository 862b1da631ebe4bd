import Diagnostics
import ElfFormat
import Glibc
import ObjectFiles
import PatchFormat
import TestSupport
import Testing

@testable import Closing
@testable import ModuleLinking
@testable import PatchBuilding
@testable import Releasing

@Suite struct LinkTests {
    private typealias Loaded = LoadedModule

    private func load(_ fixture: PlanFixture) async throws -> (ModulePlan, LoadedModule) {
        let plan = try fixture.plan()
        return (plan, try LoadedModule(try await link(plan)))
    }

    private func target(_ name: String, _ address: UInt64) -> Binding {
        Binding(kind: .target, symbol: name, address: address)
    }

    // MARK: The target's own things

    @Test(
        "trap link-visibility: locals, hidden and exported symbols of the target are lifted",
        arguments: ["-fPIC", "-fPIE"])
    func linkVisibility(option: String) async throws {
        let source = """
            static int counter; extern int hidden __attribute__((visibility("hidden"))); extern int shared;
            void keep(int *); int local(int);
            static int *const pointer = &counter;
            int get(int n) { keep(pointer); return counter++ + hidden + shared + local(n); }
            """
        let (plan, module) = try await load(
            PlanFixture(
                new: source, options: [option], replaced: ["get": 0x1000],
                bindings: [
                    ".bss.counter": target("counter", 0x4000), "hidden": target("hidden", 0x4010),
                    "shared": target("shared", 0x4020), "local": target("local", 0x1800),
                    "keep": target("keep", 0x1900),
                ]))
        #expect(module.file.dynamicSymbols.dropFirst().isEmpty)
        for field in try module.fields("local", in: "get", plan) {
            #expect(module.reached(field) == Loaded.targetBase + 0x1800)
        }
        for field in try module.fields("hidden", in: "get", plan) {
            #expect(module.reached(field) == Loaded.targetBase + 0x4010)
        }
        let fields = try module.fields("shared", in: "get", plan)
        #expect(!fields.isEmpty)
        for field in fields {
            let reached = module.reached(field)
            let value = option == "-fPIC" ? module.word(at: reached) : reached
            #expect(value == Loaded.targetBase + 0x4020)
        }
    }

    @Test("trap binding-scope: a symbol that may be preempted is reached by the value of the target's slot")
    func bindingScope() async throws {
        let source = "extern int shared; int other(int); int get(int n) { return other(n) + shared; }"
        let (plan, module) = try await load(
            PlanFixture(
                new: source, replaced: ["get": 0x1000],
                bindings: [
                    "shared": Binding(kind: .slot, symbol: "shared", address: 0x3fe0),
                    "other": Binding(kind: .slot, symbol: "other", address: 0x3fe8),
                ]))
        let data = try #require(try module.fields("shared", in: "get", plan).first)
        #expect(module.word(at: module.reached(data)) == 0x7eee_0000_3fe0)
        // The call goes by a jump of the module's own, because the other library may be far away.
        let call = try #require(try module.fields("other", in: "get", plan).first)
        let jump = module.reached(call) - Loaded.base
        #expect(module.load(jump, 3) == 0x25ff3e)
        #expect(module.word(at: module.reached(jump + 3)) == 0x7eee_0000_3fe8)
    }

    @Test func staticFunctionsByTheirSectionGoToTheTargetsEntry() async throws {
        let source = """
            int puts(const char *);
            static int __attribute__((noinline)) step(int n) { return puts("step") + n; }
            int (*hook)(int);
            int get(int n) { hook = step; return step(n) + 1; }
            """
        let (plan, module) = try await load(
            PlanFixture(
                new: source, options: ["-fPIE"], replaced: ["get": 0x1000, "step": 0x1200],
                bindings: ["hook": target("hook", 0x4000)]))
        let fields = try module.fields(".text.step", in: "get", plan)
        #expect(fields.count == 2)
        for field in fields { #expect(module.reached(field) == Loaded.targetBase + 0x1200) }
    }

    @Test func jumpTablesStayInsideTheirFunction() async throws {
        let source = """
            int one(void), two(void), three(void), four(void), five(void); void abort(void);
            static int __attribute__((noinline)) pick(int n) {
                switch (n) {
                case 0: return one(); case 1: return two() + 1; case 2: return three() + 2; case 3: return four() + 3;
                case 4: return five() + 4; case 5: abort();
                }
                return 0;
            }
            int get(int n) { return pick(n) + pick(n + 1); }
            """
        for option in ["-fPIC", "-fPIE", "-fno-pie"] {
            let (plan, module) = try await load(
                PlanFixture(new: source, options: [option], replaced: ["get": 0x1000, "pick": 0x1200]))
            let ranges = try module.function("pick").newRanges
            #expect(ranges.count == 2)
            let unit = try plan.units.at(0).new
            let table = try #require(unit.sections.first { $0.name.hasPrefix(".rodata") && !$0.relocations.isEmpty })
            let address = try address(ofNew: table.index, plan, module)
            for relocation in table.relocations {
                let entry = address + relocation.offset
                let width = relocation.type.fieldSize
                // Each entry of a relative table is counted from the table's start.
                let label =
                    width == 8
                    ? module.load(entry, 8)
                    : Loaded.base &+ address
                        &+ UInt64(bitPattern: Int64(Int32(truncatingIfNeeded: module.load(entry, 4))))
                #expect(ranges.contains { label >= Loaded.base + $0.address && label < Loaded.base + $0.end })
            }
        }
    }

    /// Address in the module of a travelling section of the new object.
    private func address(ofNew section: SectionIndex, _ plan: ModulePlan, _ module: LoadedModule) throws -> UInt64 {
        let bytes = try plan.units.at(0).new.sections.at(section).size
        let extraction = try extract(plan)
        let name = try plan.units.at(0).new.sections.at(section).name
        let number = try #require(
            extraction.object.sections.first { $0.name == name && $0.size == bytes }?.index)
        let index = try #require(extraction.mapIndex[number])
        let map = try #require(module.file.section(named: ".livepatch.map")?.data)
        return try (0..<8).reversed().reduce(0) { $0 << 8 | UInt64(try map.at(index * 8 + $1)) }
    }

    // MARK: Libraries

    @Test func librariesGoThroughStandardDynamicRelocations() async throws {
        let source = """
            int puts(const char *); extern void *stderr; int fputs(const char *, void *);
            int rand(void); int (*const table[])(void) = {rand};
            int get(int i) { return puts("x") + fputs("y", stderr) + table[i](); }
            """
        let (plan, module) = try await load(
            PlanFixture(new: source, replaced: ["get": 0x1000], added: ["table"]))
        #expect(Set(module.file.dynamicSymbols.dropFirst().map(\.name)) == ["puts", "fputs", "stderr", "rand"])
        let types = Set(module.file.dynamicRelocations.map(\.type))
        #expect(types == [.jumpSlot, .globDat, .abs64, .relative])
        let call = try #require(try module.fields("puts", in: "get", plan).first)
        let plt = module.reached(call) - Loaded.base
        let jump = module.load(plt, 2) == 0x25ff ? plt + 2 : plt + 3
        #expect(module.word(at: module.reached(jump)) == module.importAddresses["puts"])
        let data = try #require(try module.fields("stderr", in: "get", plan).first)
        #expect(module.word(at: module.reached(data)) == module.importAddresses["stderr"])
        let bindings = module.linked.bindings.filter { $0.kind == .imported }
        #expect(bindings.contains(PlanFixture.imported("puts")) && bindings.count == 4)
    }

    // MARK: Non-PIC

    @Test func absoluteReferencesOfNonPICCodeAreResolvedByTheApplier() async throws {
        let source = """
            int puts(const char *); extern int numbers[]; static const int own[] = {5, 6, 7, 8, 9, 10};
            int get(int i) { return puts("text") + numbers[i] + own[i]; }
            """
        let (plan, module) = try await load(
            PlanFixture(
                original: "int get(int i) { return i; }", new: source, options: ["-fno-pie"],
                replaced: ["get": 0x1000], added: ["own"],
                bindings: ["numbers": target("numbers", 0x4040)]))
        let number = try #require(try module.fields("numbers", in: "get", plan).first)
        #expect(module.load(number, 4) == (Loaded.targetBase + 0x4040) & 0xffff_ffff)
        let own = try module.fields(".rodata.own", in: "get", plan)
        let address = UInt64(UInt32(truncatingIfNeeded: Loaded.base)) + module.load(try #require(own.first), 4)
        #expect(module.load(address & 0xffff, 4) == 5)
        #expect(module.linked.bindings.contains { $0.kind == .module && $0.symbol == ".rodata.own" && $0.address > 0 })
    }

    // MARK: Thread-locals

    @Test("trap tls-silent: every TLS relocation is lifted", arguments: ["-fPIE", "-fPIC"])
    func tlsSilent(option: String) async throws {
        let source = """
            static __thread int first, second; extern __thread int outer;
            int get(void) { return first++ + second++ + outer; }
            """
        let (plan, module) = try await load(
            PlanFixture(
                new: source, options: [option], replaced: ["get": 0x1000],
                bindings: [
                    ".tbss.first": Binding(kind: .threadLocal, symbol: "first", address: 8),
                    ".tbss.second": Binding(kind: .threadLocal, symbol: "second", address: 12),
                    "first": Binding(kind: .threadLocal, symbol: "first", address: 8),
                    "second": Binding(kind: .threadLocal, symbol: "second", address: 12),
                    "outer": Binding(kind: .threadLocal, symbol: "outer", address: 16),
                ]))
        #expect(!module.file.segments.contains { $0.type == 7 })
        let outer = try #require(try module.fields("outer", in: "get", plan).first)
        let first = try #require(try module.fields("first", in: "get", plan).first)
        let slot = module.reached(outer)
        if option == "-fPIE" {
            #expect(Int64(bitPattern: module.word(at: slot)) == 16 + Loaded.threadOffset)
            #expect(Int64(Int32(truncatingIfNeeded: module.load(first, 4))) == 8 + Loaded.threadOffset)
        } else {
            #expect(module.word(at: slot) == Loaded.threadModule && module.word(at: slot + 8) == 16)
            // The first reference to a static is to its block, the later ones are offsets in it.
            let types = Set(module.records.map(\.type))
            #expect(types.isSuperset(of: [.dtpmod64, .dtpoff32]))
            #expect(module.importAddresses["__tls_get_addr"] != nil)
        }
    }

    // MARK: Everything at once

    @Test("every field of a module is what the psABI's formula makes of it", arguments: ["-fPIC", "-fPIE", "-fno-pie"])
    func everyField(option: String) async throws {
        let source = """
            int puts(const char *); int printf(const char *, ...); void abort(void); void *malloc(unsigned long);
            extern int limit; extern int (*hooks[])(int); int other(int);
            static int count = 3;
            static const char *const names[] = {"zero", "one", "two"};
            int fresh(int n) { printf("%s %d\\n", names[n % 3], n); return n + limit; }
            static int __attribute__((noinline)) step(int n) {
                switch (n) {
                case 0: return puts("a"); case 1: return fresh(n) + 1; case 2: return other(n) + 2;
                case 3: return puts(names[n - 1]) + 3; case 4: return count++; case 5: abort();
                }
                return limit + hooks[n & 3](n);
            }
            int get(int n) {
                hooks[0] = step; hooks[1] = fresh; hooks[2] = other;
                return n > 1 ? get(n - 1) + step(n) : malloc(n) != 0;
            }
            """
        let plan = try PlanFixture(
            original: source, new: source.replacing("limit + hooks", with: "limit * hooks"), options: [option],
            replaced: ["get": 0x1000, "step": 0x1200], added: ["fresh", "names"],
            bindings: [
                "limit": target("limit", 0x4000), "hooks": target("hooks", 0x4020),
                ".data.count": target("count", 0x4100),
                "other": Binding(kind: option == "-fPIC" ? .slot : .target, symbol: "other", address: 0x3fe0),
            ], originalHasAdded: true
        ).plan()
        let check = try FieldCheck(plan, try await link(plan))
        #expect(check.checked > 60)
        #expect(check.faults.isEmpty)
    }

    // MARK: Entries and stubs

    private let pair = PlanFixture(
        original: "int get(int n) { return n * 3 + 1; }", new: "int get(int n) { return n * 5 + 2; }",
        replaced: ["get": 0x1000])

    @Test func theSwitchChoosesTheBody() async throws {
        for shares in [false, true] {
            let linked = try await link(try pair.plan(), sharesSwitch: shares)
            let memory = try ExecutableCopy(linked)
            let stub = try #require(linked.functions.at(0).stub)
            #expect(memory.call(stub, 10) == 31)
            memory.store(linked.layout.switchAddress, 1)
            #expect(memory.call(stub, 10) == 52)
            memory.store(linked.layout.switchAddress, 0)
            #expect(memory.call(stub, 10) == 31)
            #expect((linked.layout.switchPointer != nil) == shares)
        }
    }

    @Test func copiesOfOriginalBodiesAreNamedAndPlaced() async throws {
        let (_, module) = try await load(pair)
        let function = try module.function("get")
        let names = module.file.symbols.filter { $0.kind == .function }
        #expect(try names.first { $0.name == "get" }?.value == function.newRanges.at(0).address)
        #expect(try names.first { $0.name == "get.original" }?.value == function.oldRanges.at(0).address)
        #expect(names.first { $0.name == "get.stub" }?.value == function.stub)
        #expect(names.allSatisfy { $0.binding == .local })
        let slot = try #require(function.oldSlot)
        #expect(try module.load(slot, 8) == Loaded.base + function.oldRanges.at(0).address)
    }

    @Test func paddedEntriesGoOnBehindTheirPad() async throws {
        var fixture = pair
        fixture.entry = Entry(kind: .padded, jumpOffset: 4, resumeOffset: 9)
        let (_, module) = try await load(fixture)
        let function = try module.function("get")
        #expect(function.oldRanges.isEmpty)
        let slot = try #require(function.oldSlot)
        #expect(module.load(slot, 8) == Loaded.targetBase + 0x1009)
    }

    @Test("trap ipa-contract: the stub uses no register")
    func ipaContract() async throws {
        let (_, module) = try await load(pair)
        let stub = try #require(try module.function("get").stub)
        #expect(
            module.load(stub, 2) == 0x3d80 && module.load(stub + 6, 3) == 0x850f00
                && module.load(stub + 13, 3) == 0x25ff3e)
        #expect(module.reached(stub + 2, trailing: 1) == Loaded.base + module.linked.layout.switchAddress)
        #expect(try module.reached(stub + 9) == Loaded.base + module.function("get").newRanges.at(0).address)
        let slot = try #require(try module.function("get").oldSlot)
        #expect(module.reached(stub + 16) == Loaded.base + slot)
    }

    // MARK: The file

    @Test func sameStaticsOfTwoUnitsDoNotClash() async throws {
        var plan = try pair.plan()
        plan.units.append(plan.units[0])
        plan.functions.append(plan.functions[0])
        plan.functions[1].unit = 1
        plan.functions[1].description.original!.range.address = 0x2000
        let linked = try await link(plan)
        #expect(try linked.functions.at(0).newRanges != linked.functions.at(1).newRanges)
    }

    @Test func unitsReferToEachOthersNewFunctions() async throws {
        let plan = try PlanFixture(new: "int fresh(int n) { return n + 1; }", added: ["fresh"]).plan()
        var other = try PlanFixture(
            original: "int get(int n) { return n; }", new: "int fresh(int); int get(int n) { return fresh(n) * 2; }",
            options: ["-fPIE"], replaced: ["get": 0x1000]
        ).plan()
        for (index, reference) in other.units[0].newReferences {
            if case .outside(let binding) = reference, binding.symbol == "fresh" {
                other.units[0].newReferences[index] = .otherUnit(name: "fresh")
            }
        }
        other.units.append(plan.units[0])
        other.functions.append(plan.functions[0])
        other.functions[1].unit = 1
        let linked = try await link(other)
        let memory = try ExecutableCopy(linked)
        memory.store(linked.layout.switchAddress, 1)
        let stub = try #require(linked.functions.first?.stub)
        #expect(memory.call(stub, 20) == 42)
        #expect(try LoadedModule(linked).file.dynamicSymbols.count <= 1)
    }

    @Test func sameInputsGiveSameBytes() async throws {
        let plan = try pair.plan()
        let (first, second) = (try await link(plan), try await link(plan, sharesSwitch: false))
        #expect(first.bytes == second.bytes)
        #expect(!String(decoding: first.bytes, as: UTF8.self).contains("patchbuild-link"))
    }

    @Test func segmentsAreSeparate() async throws {
        let (_, module) = try await load(pair)
        let loaded = module.file.segments.filter { $0.type == 1 }
        #expect(loaded.allSatisfy { $0.flags & 3 != 3 && $0.address % 0x1000 == $0.fileOffset % 0x1000 })
        #expect(loaded.contains { $0.flags == 5 } && loaded.contains { $0.flags == 6 })
        let layout = module.linked.layout
        #expect(loaded.contains { $0.flags & 2 != 0 && $0.address <= layout.switchAddress })
    }

    // MARK: What debuggers find in the memory

    private func headers(_ module: LoadedModule, _ type: UInt32) -> [Segment] {
        module.file.segments.filter { $0.type == type }
    }

    @Test("core-as-file: the file is the memory, and all of it is loaded") func theFileIsTheMemory() async throws {
        let (_, module) = try await load(pair)
        let loads = headers(module, 1)
        #expect(loads.allSatisfy { $0.fileOffset == $0.address && $0.fileSize == $0.memorySize })
        #expect(loads.map(\.address) == loads.map(\.address).sorted())
        #expect(module.linked.bytes.count == Int(module.linked.layout.memorySize))
        for section in module.file.sections where section.isAllocated { #expect(section.fileOffset == section.address) }
        let names = try #require(module.file.section(named: ".symtab"))
        #expect(
            loads.contains {
                $0.flags == 4 && $0.address <= names.fileOffset && names.fileOffset < $0.address + $0.memorySize
            })
        #expect(
            module.file.symbols.contains { $0.name == "get" } && module.file.symbols.contains { $0.name == "get.stub" })
    }

    @Test func unwindDataIsFoundThoughNobodyIsToldOfIt() async throws {
        let (_, module) = try await load(pair)
        #expect(module.linked.layout.unwind == nil)
        let header = try #require(headers(module, 0x6474_e550).first)
        #expect(headers(module, 0x6474_e550).count == 1)
        let frames = try #require(module.file.section(named: ".eh_frame"))
        #expect(module.load(header.address, 4) == 0xffff_1b01)
        #expect(module.reached(header.address + 4) - 4 == Loaded.base + frames.address)
        #expect(module.file.section(named: ".eh_frame_hdr")?.address == header.address)
        let text = try withTemporaryDirectory { directory in
            try writeBytes(module.linked.bytes, to: directory + "/module.so")
            return try runOrThrow("readelf", ["--debug-dump=frames", directory + "/module.so"]).stdout
        }
        for range in try module.function("get").newRanges + module.function("get").oldRanges {
            let start = String(range.address, radix: 16)
            let place = String(repeating: "0", count: 16 - start.utf8.count) + start
            #expect(text.contains("pc=\(place).."), "\(text)")
        }
    }

    @Test func aModuleSaysOfWhichPatchItIs() async throws {
        let plan = try pair.plan()
        let (first, second) = (try await link(plan, patch: "fix-1"), try await link(plan, patch: "fix-2"))
        let modules = [try LoadedModule(first), try LoadedModule(second)]
        let identities = try modules.map { try #require($0.file.section(named: ".note.gnu.build-id")).data }
        #expect(try identities.at(0).count == 36 && identities.at(0) != identities.at(1))
        let note = try #require(modules.at(0).file.section(named: ".note.package"))
        let text = String(decoding: note.data, as: UTF8.self)
        for part in [
            "FDO\0", "\"type\":\"livepatch\"", "\"name\":\"fix-1\"", "\"target\":\"served\"", PlanFixture.buildID,
        ] {
            #expect(text.contains(part), "\(text)")
        }
        #expect(
            try headers(modules.at(0), 4).contains {
                $0.address <= note.address && note.address < $0.address + $0.memorySize
            })
    }

    @Test func manyZerosStayOutOfTheFile() async throws {
        var fixture = pair
        fixture.new = "static char room[8 << 20]; int get(int n) { return room[n]++; }"
        fixture.added = ["room"]
        let (_, module) = try await load(fixture)
        #expect(module.linked.layout.memorySize > 8 << 20 && module.linked.bytes.count < 1 << 16)
        #expect(headers(module, 0x6474_e550).count == 1)
        #expect(module.file.symbols.contains { $0.name == "room" })
    }

    // MARK: The bundle

    @Test func bundlesAreDescribedAndShown() async throws {
        var fixture = pair
        fixture.new = "int puts(const char *); int get(int n) { return puts(\"new text\") + n; }"
        let plan = try fixture.plan()
        let linked = try await link(plan)
        var metadata = PatchMetadata()
        metadata.cves = ["CVE-2099-0001"]
        let (manifest, bytes) = try makeBundle(
            id: "FIX", modules: [PatchedTarget(plan: plan, values: [], linked: linked)], metadata: metadata)
        let bundle = try Bundle.parse(bytes)
        #expect(bundle.manifest == manifest)
        #expect(bundle.modules[manifest.targets[0].module] == linked.bytes)
        #expect(try manifest.targets.at(0).data.contains { $0.name.hasPrefix(".rodata") && !$0.writable })
        let text = Show.text(bundle)
        for word in ["FIX", "CVE-2099-0001", "get  changed  [src/unit.o]", "puts@GLIBC_2.2.5", "bare entry"] {
            #expect(text.contains(word))
        }
        #expect(Show.json(bundle).contains("\"functions\""))
        #expect(
            try makeBundle(
                id: "FIX", modules: [PatchedTarget(plan: plan, values: [], linked: linked)], metadata: metadata
            ).bytes == bytes)
    }
}

/// A module without outside references, mapped so that its code can be called.
private final class ExecutableCopy {
    private let base: UnsafeMutableRawPointer
    private let size: Int

    init(_ linked: LinkedModule) throws {
        size = Int(linked.layout.memorySize)
        let protection = PROT_READ | PROT_WRITE | PROT_EXEC
        let mapped = mmap(nil, size, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let mapped, mapped != MAP_FAILED else { throw Failure("mmap") }
        base = mapped
        let module = try LoadedModule(linked)
        base.copyMemory(from: module.memory, byteCount: size)
        for relocation in module.file.dynamicRelocations {
            let value = UInt(bitPattern: base) + UInt(relocation.addend)
            (base + Int(relocation.offset)).storeBytes(of: value, as: UInt.self)
        }
    }

    deinit { munmap(base, size) }

    func store(_ address: UInt64, _ byte: UInt8) { (base + Int(address)).storeBytes(of: byte, as: UInt8.self) }

    func call(_ address: UInt64, _ argument: Int32) -> Int32 {
        typealias Function = @convention(c) (Int32) -> Int32
        return unsafeBitCast(base + Int(address), to: Function.self)(argument)
    }
}
