import Diagnostics
import MachineCode
import ObjectFiles
import PatchFormat

/// What `patchbuild check` says of one ELF file: which of its functions can be replaced, and how.
package struct CheckReport: Codable, Sendable {
    package struct Function: Codable, Sendable {
        var name: String
        /// Other names of the same address.
        var aliases: [String]
        var address: UInt64
        var size: UInt64
        var kind: EntryKind
        /// For `none`, all that stands in the way; for `bare`, why a pad can't be used; else empty.
        var reason: String
        /// Only stack consistency is safe (trap loop-to-entry).
        var loopsToEntry: Bool
    }
    package struct Totals: Codable, Sendable {
        var functions = 0
        var padded = 0
        var bare = 0
        var none = 0
    }

    /// The file's name without directories.
    var file: String
    var buildID: String?
    /// The table that the functions are listed in: `.symtab`, or `.dynsym` of a stripped file.
    var symbolTable: String
    var totals: Totals
    /// By address.
    var functions: [Function]
    /// Only the functions that were asked for are listed.
    var isSelection: Bool
}

/// Computes the entry kind of every function of a linked ELF file, or of those named in `functions`.
///
/// Throws `Refusals`: a file that can't be read or is no linked file, one without any function symbol, and names that
/// the file does not have.
package func checkEntries(of path: String, functions names: [String] = []) throws -> CheckReport {
    let file = try readLinked(path)
    let table = file.symbols.isEmpty ? file.dynamicSymbols : file.symbols
    let listed = functionList(table, in: file)
    guard !listed.isEmpty else {
        throw Refusals(.stripped, subject: path, why: "it has no symbol table that names a function")
    }
    let chosen = try select(names, of: listed, path: path)
    let code = TargetCode(file)
    var report = CheckReport(
        file: path.split(separator: "/").last.map(String.init) ?? path, buildID: file.buildID,
        symbolTable: file.symbols.isEmpty ? ".dynsym" : ".symtab", totals: .init(), functions: [],
        isSelection: !names.isEmpty)
    for function in chosen {
        let analysis = code.entry(of: function.range, coldRanges: function.cold)
        report.add(function, analysis)
    }
    return report
}

/// One address with its names, before its entry is looked at.
private struct ListedFunction {
    var names: [String]
    var range: AddressRange
    var cold: [AddressRange]
}

private func readLinked(_ path: String) throws -> ObjectFile {
    let file: ObjectFile
    do { file = try ObjectFile.read(path: path) } catch {
        throw Refusals(.badInput, subject: path, why: "\(error)")
    }
    guard file.kind != .relocatable else {
        throw Refusals(.badInput, subject: path, why: "entries are checked in linked files, and this is an object")
    }
    guard !file.isDebugOnly else {
        throw Refusals(.badInput, subject: path, why: "it is a separate debug file, which holds no code")
    }
    return file
}

/// The functions of a symbol table, aliases joined, by address. A `.cold` half belongs to the function it is named for.
private func functionList(_ table: Indexed<Symbol>, in file: ObjectFile) -> [ListedFunction] {
    let code = Set(file.sections.filter { $0.isAllocated && $0.isExecutable }.map(\.index))
    let symbols = table.filter {
        ($0.kind == .function || $0.kind == .indirect) && $0.sectionIndex.map(code.contains) == true
    }
    let units = unitOfLocals(table)
    var cold: [UnitName: [AddressRange]] = [:]
    for symbol in symbols {
        guard let parent = symbol.name.coldParent else { continue }
        let range = AddressRange(address: symbol.value, size: symbol.size)
        cold[UnitName(unit: units[symbol.index], name: parent), default: []].append(range)
        // The parent may be global, which no unit is known of: any half of that name may be its own.
        cold[UnitName(unit: nil, name: parent), default: []].append(range)
    }
    var byAddress: [UInt64: ListedFunction] = [:]
    for symbol in symbols where symbol.name.coldParent == nil {
        let halves = cold[UnitName(unit: units[symbol.index], name: symbol.name)] ?? []
        let range = AddressRange(address: symbol.value, size: symbol.size)
        var found = byAddress[symbol.value] ?? ListedFunction(names: [], range: range, cold: [])
        found.names.append(symbol.name)
        found.range.size = max(found.range.size, symbol.size)
        found.cold += halves.filter { !found.cold.contains($0) }
        byAddress[symbol.value] = found
    }
    return byAddress.values.sorted { $0.range.address < $1.range.address }
}

/// Of each local symbol's index, the index of the file symbol before it.
private func unitOfLocals(_ table: Indexed<Symbol>) -> [SymbolIndex: SymbolIndex] {
    var units: [SymbolIndex: SymbolIndex] = [:]
    var unit: SymbolIndex = 0
    for symbol in table where symbol.binding == .local {
        if symbol.kind == .file { unit = symbol.index }
        units[symbol.index] = unit
    }
    return units
}

private struct UnitName: Hashable {
    var unit: SymbolIndex?
    var name: String
}

extension String {
    /// `f` of `f.cold` and `f.cold.3`.
    fileprivate var coldParent: String? {
        var parts = split(separator: ".", omittingEmptySubsequences: false)
        if let last = parts.last, !last.isEmpty, last.allSatisfy(\.isNumber) { parts.removeLast() }
        guard parts.count > 1, parts.last == "cold" else { return nil }
        return parts.dropLast().joined(separator: ".")
    }
}

private func select(_ names: [String], of listed: [ListedFunction], path: String) throws -> [ListedFunction] {
    guard !names.isEmpty else { return listed }
    let wanted = Set(names)
    let known = Set(listed.flatMap(\.names))
    let missing = wanted.subtracting(known).sorted()
    guard missing.isEmpty else {
        throw Refusals(
            missing.map {
                Refusal(
                    .unresolvedSymbol, subject: $0, why: "\(path) has no function of that name",
                    remedy: "check the spelling, or give a file that is not stripped")
            })
    }
    return listed.filter { !wanted.isDisjoint(with: $0.names) }
}

extension CheckReport {
    fileprivate mutating func add(_ function: ListedFunction, _ analysis: EntryAnalysis) {
        totals.functions += 1
        let kind: EntryKind
        switch analysis.kind {
        case .padded: (kind, totals.padded) = (.padded, totals.padded + 1)
        case .bare: (kind, totals.bare) = (.bare, totals.bare + 1)
        case .none: (kind, totals.none) = (.none, totals.none + 1)
        }
        functions.append(
            Function(
                name: function.names.first ?? "", aliases: Array(function.names.dropFirst()),
                address: function.range.address, size: function.range.size, kind: kind,
                reason: analysis.reasons.joined(separator: "; "), loopsToEntry: analysis.loopsToEntry))
    }
}
