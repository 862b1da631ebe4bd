import ElfFormat

/// Commands that have gdb know the modules. They serve for the process and for a core dump of it.
func gdbScript(_ modules: [(symbols: ModuleSymbols, path: String)], pid: Int32) -> String {
    var lines = [
        "# The live patches of process \(pid), written by `livepatch debug`.",
        "# gdb -p \(pid) -x THIS-FILE, or gdb PROGRAM CORE -x THIS-FILE",
    ]
    for (module, path) in modules { lines.append("add-symbol-file \(quoted(path)) -o \(hex(module.base))") }
    return lines.joined(separator: "\n") + "\n"
}

/// As gdb takes an argument apart. There are no control characters in it.
private func quoted(_ path: String) -> String {
    "\"" + path.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }.joined() + "\""
}
