/// A `--target` with its `--symbols`.
package struct TargetFiles: Sendable {
    var path: String
    var symbols: String?
    package init(path: String, symbols: String?) {
        self.path = path
        self.symbols = symbols
    }
}
