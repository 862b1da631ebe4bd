import Closing
import Diagnostics
import ElfFormat
import ObjectFiles
import PatchFormat

/// What is linked into a module: one relocatable object that refers to nothing but itself and libraries, and what
/// must be told of it once `ld` has given everything an address.
///
/// All units of a module travel in one object, so that every definition can be a local symbol and names of different
/// units can't meet (trap link-visibility). `FILE` symbols tell the units apart for a reader.
struct Extraction {
    var object: ObjectWriter
    var bindings: [Binding]
    /// Number of records in `.livepatch.bindings`.
    var bindingCount: Int
    /// Indices into `bindings` of kind `.module`, and the section of `object` that each stands for.
    var moduleBindings: [(binding: Int, section: SectionIndex)]
    /// `.livepatch.map`, which is not loaded, holds the address of each section of `object` with a place in it.
    var mapIndex: [SectionIndex: Int]
    var functions: [ExtractedFunction]
    var tables: TableSections
    /// Symbols that stay undefined.
    var imports: Set<String>
}

/// A range of a section of the object: its address is known after the link.
struct ObjectRange: Hashable {
    var section: SectionIndex
    var offset: UInt64
    var size: UInt64
}

struct ExtractedFunction {
    var newRanges: [ObjectRange] = []
    var oldRanges: [ObjectRange] = []
    var stub: ObjectRange?
    var oldSlot: ObjectRange?
}

/// Section numbers of what the applier looks for.
struct TableSections {
    var switchByte: SectionIndex = 0
    var switchPointer: SectionIndex?
    /// nil when nothing is bound by records.
    var bindings: SectionIndex?
    /// Unwind data, what debuggers find it by, and the record of the process's unwinder, where that is told of it.
    var frames: SectionIndex?
    var frameHeader: SectionIndex?
    var frameObject: SectionIndex?
    /// Pointers to functions that run once at load.
    var initializers: SectionIndex?
}

/// Takes what travels out of the units' objects and lifts every reference to something in the target (and all TLS)
/// out of it, into a table that the applier resolves, because `ld -shared` refuses some of them, links others
/// silently wrong, and can't name the target's locals (traps link-visibility, tls-silent).
/// - Parameter patch: the bundle's id.
/// - Throws: `Refusals`, all that were found: of relocation types outside the closed list, and of references that
///   stand for nothing.
func extract(_ plan: ModulePlan, sharesSwitch: Bool = false, patch: String = "patch") throws -> Extraction {
    var builder = ModuleBuilder(plan, sharesSwitch: sharesSwitch)
    builder.addSections()
    builder.addRelocations()
    builder.addStubs()
    builder.addFrames()
    builder.addPackageNote(patch: patch)
    builder.addInitializers()
    guard builder.refusals.isEmpty else { throw Refusals(builder.refusals) }
    return builder.finish()
}

/// Which of a unit's two objects.
enum Side: Hashable { case new, original }

/// A section of one of the units' objects.
struct SectionKey: Hashable {
    var unit: Int
    var side: Side
    var section: SectionIndex
}

/// The object while it is put together.
struct ModuleBuilder {
    let plan: ModulePlan
    let sharesSwitch: Bool
    var object = ObjectWriter()
    var refusals: [Refusal] = []
    var bindings = BindingList()
    var tables = ModuleTables()
    var sectionsOfTables = TableSections()
    /// Travelling sections, in the order they were added.
    var sites: [TravellingSection] = []
    /// Number in `object` of each travelling section.
    var sectionNumbers: [SectionKey: SectionIndex] = [:]
    /// Section symbol in `object` of each section of `object`.
    var sectionSymbols: [SectionIndex: SymbolIndex] = [:]
    /// Names that units refer to each other by: section of `object`, and offset.
    var exports: [String: (section: SectionIndex, offset: UInt64)] = [:]
    /// Common symbols (`-fcommon`) that got a section of their own.
    var commons: [SymbolKey: SectionIndex] = [:]
    /// Entries of replaced functions: references to them go to the target's entry.
    var replacedEntries: [SectionKey: [UInt64: Binding]] = [:]
    var imports: [String: SymbolIndex] = [:]
    var functions: [ExtractedFunction] = []

    struct SymbolKey: Hashable {
        var unit: Int
        var side: Side
        var symbol: SymbolIndex
    }

    init(_ plan: ModulePlan, sharesSwitch: Bool = false) {
        self.plan = plan
        self.sharesSwitch = sharesSwitch
    }

    func objectFile(_ unit: Int, _ side: Side) -> ObjectFile {
        side == .new ? plan.units[unit].new : plan.units[unit].original
    }

    mutating func refuse(_ rule: Rule, _ subject: String, _ why: String) {
        let refusal = Refusal(rule, subject: subject, why: why)
        if !refusals.contains(refusal) { refusals.append(refusal) }
    }

    /// Adds a section with a section symbol, and gives its number.
    mutating func add(_ section: Section) -> SectionIndex {
        let number = object.addSection(section)
        sectionSymbols[number] = object.addSymbol(name: "", kind: .section, place: .section(number))
        return number
    }

    /// A relocation against a byte of one of the object's own sections.
    func local(_ section: SectionIndex, at offset: UInt64, _ type: RelocationType, addend: Int64) -> Relocation {
        Relocation(offset: offset, type: type, symbol: sectionSymbols[section] ?? 0, addend: addend)
    }
}
