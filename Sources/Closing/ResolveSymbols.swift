import CodeModel
import Diagnostics
import ElfFormat
import Matching
import ObjectFiles
import PatchFormat
import Targets

/// Decides what a name outside of the module stands for, as the target itself is bound (trap binding-scope).
struct SymbolResolver {
    let target: TargetImage
    private let libraries: NeededLibraries
    /// The target's own functions come first in its own code, though a program may define others of their names:
    /// `-Bsymbolic-functions`, which leaves no mark in the file. nil where nothing shows it.
    private let bindsOwnFunctions: Bool?

    /// - Parameter originals: objects of the target's units before the change; their code shows how the link bound it.
    init(target: TargetImage, originals: [ObjectFile] = []) {
        self.target = target
        libraries = NeededLibraries(target)
        bindsOwnFunctions = target.isSymbolic ? true : target.bindsOwnFunctions(of: originals)
    }

    /// A definition of the unit that the target has, under one of `names`.
    ///
    /// Several names of one address may mean different things: a weak one may be another unit's in the link, and one that a
    /// library exports is whatever the process found first, while a hidden one is always the library's own.
    /// - Parameter symbol: the name that the code uses.
    func bind(
        _ entity: Entity, _ symbol: Symbol, names: [String], addresses: [String: UInt64], type: RelocationType
    ) -> Result<Binding, Refusal> {
        if symbol.kind == .indirect {
            return .failure(
                Refusal(
                    .unresolvedSymbol, subject: symbol.name,
                    why: "it is an indirect function (IFUNC) that the target defines, and its choice can't be told"))
        }
        let names = names.contains(symbol.name) ? [symbol.name] : names
        guard let name = names.first(where: { addresses[$0] != nil }), let address = addresses[name] else {
            return .failure(
                Refusal(
                    .unresolvedSymbol, subject: entity.name,
                    why: "its address in the target can't be told: no matching function refers to it",
                    remedy: "give --symbols of the very build"))
        }
        if entity.kind == .threadLocal {
            return .success(Binding(kind: .threadLocal, symbol: name, address: address))
        }
        if symbol.binding != .local, let slot = ownSlot(symbol.name, type) { return .success(slot) }
        if symbol.binding != .local, let chosen = preempted(symbol.name, address, type) { return .success(chosen) }
        return .success(Binding(kind: .target, symbol: name, address: address))
    }

    /// A library's own symbol goes through its slot when the library's code does.
    private func ownSlot(_ name: String, _ type: RelocationType) -> Binding? {
        guard !target.isExecutable, type.mayBePreempted, let slot = target.slots[VersionedName(name).base],
            VersionedName(name).version.map({ $0 == target.slotVersions[slot] }) ?? true
        else { return nil }
        return Binding(kind: .slot, symbol: name, address: slot)
    }

    /// What a library exports is, in a process, whatever definition was found first: the program's own function of that
    /// name, or its copy of the variable (`R_X86_64_COPY`). New code may be the first of the library that uses it, so that
    /// there is no slot yet.
    private func preempted(_ name: String, _ address: UInt64, _ type: RelocationType) -> Binding? {
        let name = VersionedName(name).base
        guard !target.isExecutable, !target.isSymbolic, type.mayBePreempted, let own = target.export(name, at: address),
            own.visibility == .default, own.kind == .object || bindsOwnFunctions != true
        else { return nil }
        if own.kind != .object, bindsOwnFunctions == nil {
            let symbol = ProcessSymbol(name: name, version: own.version)
            return Binding(kind: .target, symbol: name, address: address, chosenAs: symbol)
        }
        return Binding(kind: .imported, symbol: name, version: own.version)
    }

    /// A library that the target needs has it.
    func isInLibrary(_ name: String) -> Bool { libraries.definition(of: name) != nil }

    /// A name that the unit `unit` does not define. What its matched code means by the name goes before what the symbol
    /// table says (trap binding-scope).
    func resolve(
        _ name: String, type: RelocationType, isWeak: Bool, in unit: UnitMatch
    ) -> Result<Binding, Refusal> {
        if let offset = unit.threadOffsets[name] {
            return .success(Binding(kind: .threadLocal, symbol: name, address: offset))
        }
        let known = unit.addresses[name]
        if let known, !target.definitions(of: name).contains(where: { $0.value == known }) {
            return .success(Binding(kind: .target, symbol: name, address: known))
        }
        if let other = unit.imports[name], other != name {
            return imported(other, VersionedName(name).version, type: type, isWeak: isWeak)
        }
        if known == nil, unit.imports[name] == nil, let refusal = wrapped(name) { return .failure(refusal) }
        if let definition = definition(of: name, known: known) {
            switch definition {
            case .success(let symbol):
                if symbol.kind == .threadLocal {
                    return .success(Binding(kind: .threadLocal, symbol: name, address: symbol.value))
                }
                if let slot = ownSlot(name, type) { return .success(slot) }
                if symbol.kind == .indirect {
                    return .failure(
                        Refusal(
                            .unresolvedSymbol, subject: name, why: "it is an indirect function that the target defines")
                    )
                }
                // Where the unit's own code reaches it directly, the link decided so.
                if known == nil, let chosen = preempted(name, symbol.value, type) { return .success(chosen) }
                return .success(Binding(kind: .target, symbol: name, address: symbol.value))
            case .failure(let refusal): return .failure(refusal)
            }
        }
        if target.isUnproved(name) { return .failure(unproved(name)) }
        let asked = VersionedName(name)
        return imported(asked.base, asked.version, type: type, isWeak: isWeak)
    }

    private func unproved(_ name: String) -> Refusal {
        Refusal(
            .unresolvedSymbol, subject: name,
            why: "the file given with --symbols is another link than the target, and its address in the target can't be"
                + " told: it, or the code that refers to it, is not what the target has",
            remedy: "give --symbols of the very build, or of a rebuild that is closer to it")
    }

    /// `ld --wrap=NAME` gives the name another meaning, which only code that uses it can show.
    private func wrapped(_ name: String) -> Refusal? {
        let plain = name.hasPrefix("__real_") ? String(name.dropFirst(7)) : name
        let wrapper = "__wrap_" + plain
        guard !target.globalDefinitions(of: wrapper).isEmpty || target.imports[wrapper] != nil else { return nil }
        return Refusal(
            .ambiguousSymbol, subject: name,
            why: "the target has \(wrapper), and no matched code of the unit shows which of both is meant",
            remedy: "call it in a function of the unit that calls it already")
    }

    private func definition(of name: String, known: UInt64?) -> Result<Symbol, Refusal>? {
        let all = target.definitions(of: name)
        if let known, let symbol = all.first(where: { $0.value == known }) { return .success(symbol) }
        // A static of some other unit is never meant.
        let visible = target.globalDefinitions(of: name)
        let globals = visible.filter { $0.binding != .local }
        let candidates = globals.isEmpty ? visible : globals
        guard let first = candidates.first else { return nil }
        guard candidates.allSatisfy({ $0.value == first.value }) else {
            return .failure(
                Refusal(
                    .ambiguousSymbol, subject: name,
                    why: "\(candidates.count) definitions of the target bear this name and nothing tells which is meant"
                ))
        }
        return .success(first)
    }

    /// - Parameter version: what the reference asks for by `.symver`; nil where it means the default one.
    private func imported(
        _ name: String, _ version: String?, type: RelocationType, isWeak: Bool
    ) -> Result<Binding, Refusal> {
        if target.imports[name] != nil {
            guard let symbol = importedSymbol(name, version) else {
                return .failure(
                    Refusal(
                        .ambiguousSymbol, subject: name,
                        why: "the target takes several versions of it from libraries, or another than the new code"
                            + " means, and nothing tells which is meant",
                        remedy: "call it in a function of the unit that calls it already, or ask for a version that the"
                            + " target takes (.symver)"))
            }
            // The program's PLT entry is the function's address for everybody (psABI, 5.2).
            if target.isExecutable, symbol.value != 0, type.isDirect {
                return .success(Binding(kind: .target, symbol: name, address: symbol.value))
            }
            return .success(
                Binding(
                    kind: .imported, symbol: name, version: symbol.version, library: symbol.versionLibrary,
                    weak: isWeak && symbol.binding == .weak))
        }
        if version == nil, let found = libraries.definition(of: name) {
            return .success(
                Binding(kind: .imported, symbol: name, version: found.version, library: found.library, weak: isWeak))
        }
        if isWeak { return .success(Binding(kind: .imported, symbol: name, weak: true)) }
        return .failure(
            Refusal(
                .unresolvedSymbol, subject: name,
                why:
                    "neither the target, nor a new definition of this patch, nor a library that the target needs defines it"
            ))
    }
}

extension SymbolResolver {
    /// Of the versions that the target takes, the one that is meant; nil where that can't be told.
    private func importedSymbol(_ name: String, _ version: String?) -> Symbol? {
        let all = target.file.dynamicSymbols.filter { !$0.isDefined && $0.name == name }
        if let version { return all.first { $0.version == version } }
        guard Set(all.map(\.version)).count > 1 else { return all.first }
        let current = libraries.definition(of: name)
        return all.first { $0.version != nil && $0.version == current?.version }
    }
}

extension TargetImage {
    /// Of a name's versions, the one at `address`.
    fileprivate func export(_ name: String, at address: UInt64) -> Symbol? {
        guard let own = exports[name], own.value != address else { return exports[name] }
        return file.dynamicSymbols.first { $0.isDefined && $0.name == name && $0.value == address }
    }

    /// Code of `objects` calls a function that this library exports, and which another might preempt, and the link made no
    /// slot for it; nil where no code that is known calls any.
    func bindsOwnFunctions(of objects: [ObjectFile]) -> Bool? {
        func isInterposable(_ symbol: Symbol) -> Bool {
            guard symbol.binding != .local, symbol.visibility == .default, let own = exports[symbol.name] else {
                return false
            }
            return own.kind == .function && own.visibility == .default && own.binding == .global
        }
        if exports.values.contains(where: { slots[$0.name] != nil && isInterposable($0) }) { return false }
        let isDirect = objects.contains { object in
            object.sections.contains { section in
                section.isExecutable
                    && section.relocations.contains {
                        $0.type.mayBePreempted && isInterposable(object.symbols[$0.symbol])
                    }
            }
        }
        return isDirect ? true : nil
    }
}
