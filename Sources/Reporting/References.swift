import PatchFormat

/// Bindings and entries: what the module uses of the process, and where the process enters the module.
struct References {
    let manifest: Manifest

    var view: HTML { bindings + entries }

    private var bindings: HTML {
        let tables = manifest.targets.map { target -> HTML in
            let kinds: [(Binding.Kind, HTML)] = [
                (.imported, "From libraries"), (.target, "Of the target"), (.slot, "As the target’s own slot holds it"),
                (.threadLocal, "Thread-locals"), (.module, "In the module itself"),
            ]
            return head(target)
                + kinds.map { kind, title in group(title, target.bindings.filter { $0.kind == kind }) }.joined()
        }.joined()
        return """
            <section id=bindings><h2>Bindings</h2><p class=quiet>What new code uses of what the process has: used in place, \
            not copied.</p>\(tables)</section>

            """
    }

    private func head(_ target: ManifestTarget) -> HTML {
        manifest.targets.count > 1 ? "<h3><code>\(target.file)</code></h3>" : ""
    }

    private func group(_ title: HTML, _ bindings: [Binding]) -> HTML {
        guard !bindings.isEmpty else { return "" }
        let open: HTML = bindings.count <= 24 ? " open" : ""
        let items = bindings.sorted { ($0.symbol, $0.address) < ($1.symbol, $1.address) }.map { binding -> HTML in
            let name = binding.symbol.isEmpty ? hexadecimal(binding.address) : binding.symbol
            return "<li>\(HTML.symbol(name, parameters: false)) <span>\(detail(binding))</span></li>"
        }.joined()
        return """
            <details\(open)><summary>\(title) <span class=cnt>\(grouped(bindings.count))</span></summary>\
            <ul class=names>\(items)</ul></details>
            """
    }

    private func detail(_ binding: Binding) -> String {
        switch binding.kind {
        case .imported:
            ([binding.version, binding.library].compactMap(\.self) + (binding.weak ? ["may be absent"] : []))
                .joined(separator: ", ")
        case .threadLocal: "offset \(hexadecimal(binding.address))"
        default: hexadecimal(binding.address)
        }
    }

    private var entries: HTML {
        let tables = manifest.targets.map { target -> HTML in
            let rows = target.functions.compactMap { function in function.original.map { row(function.name, $0) } }
                .joined()
            guard !rows.text.isEmpty else { return "" }
            return head(target) + """
                <div class=scroll><table><thead><tr><th>Function</th><th>address</th><th class=n>bytes</th><th>entry</th>\
                <th>cold halves</th><th>SHA-256 of its bytes</th></tr></thead><tbody>\(rows)</tbody></table></div>
                """
        }.joined()
        return """
            <section id=entries><h2>Entries</h2><p class=quiet>Where a jump of five bytes is written. Before that, the bytes in \
            memory must have this digest. <em>Padded</em>: the jump lies in no-ops; <em>bare</em>: it covers \
            instructions, and the old code goes on in a copy.</p>\(tables)</section>

            """
    }

    private func row(_ name: String, _ original: OriginalFunction) -> HTML {
        """
        <tr><th scope=row>\(HTML.symbol(name, parameters: false))</th><td><code>\(hexadecimal(original.range.address))</code></td>\
        <td class=n>\(grouped(Int(clamping: original.range.size)))</td><td>\(original.entry.kind.rawValue)</td>\
        <td class=n>\(original.coldRanges.count)</td><td><code class=id>\(original.digest)</code></td></tr>
        """
    }
}
