import PatchFormat

extension CheckReport: CustomStringConvertible {
    /// For a reader: totals, what can't be replaced and why, and how to get pads.
    package var description: String {
        let listed = isSelection ? functions : functions.filter { $0.kind == .none }
        var lines = [heading, ""]
        lines += ["  padded \(right(totals.padded))   jump in nops, nothing overwritten"]
        lines += ["  bare   \(right(totals.bare))   jump over the first 5 bytes"]
        lines += ["  none   \(right(totals.none))   refused: replace the callers instead"]
        if symbolTable == ".dynsym" {
            lines += ["", "The file is stripped: only the functions it exports are known by name."]
        }
        if !listed.isEmpty { lines += ["", isSelection ? "Functions asked for:" : "Functions that take no jump:"] }
        lines += listed.map(line)
        if totals.bare + totals.none > 0 { lines += ["", CheckReport.adviceOnPads] }
        return lines.joined(separator: "\n")
    }

    private var heading: String {
        let id = buildID.map { " (build-id \($0))" } ?? ""
        let noun = totals.functions == 1 ? "function" : "functions"
        return "\(file)\(id): \(totals.functions) \(noun) of \(symbolTable)"
    }

    private func right(_ number: Int) -> String {
        let text = String(number)
        return String(repeating: " ", count: max(0, 7 - text.count)) + text
    }

    private func line(_ function: Function) -> String {
        let names = ([function.name] + function.aliases).joined(separator: ", ")
        var text = "  0x\(String(function.address, radix: 16))  \(names), \(function.size) bytes"
        if isSelection { text += ": \(function.kind.rawValue)" }
        if !function.reason.isEmpty { text += "\n      " + function.reason }
        if function.loopsToEntry { text += "\n      it loops to its entry: stack consistency only" }
        return text
    }

    /// How a build gets pads; the snippets lie in `Templates/`.
    static let adviceOnPads = """
        Pads are not needed, but make nearly every function replaceable. To build with them, add the flag
            -fpatchable-function-entry=5        gcc 8 and clang 10, and later; C and C++
        to the flags of every unit:
            CMake      include(patchable.cmake), or cmake -DCMAKE_C_FLAGS=-fpatchable-function-entry=5
            Meson      meson setup BUILD --native-file patchable.ini
            autotools  CONFIG_SITE=patchable.site ./configure
            make       make CFLAGS="-O2 -g -fpatchable-function-entry=5", or include patchable.mk
        The form N,M with nops before the entry is not used: it needs a second jump.
        """
}
