import CBinutils
import Glibc

/// A C++ symbol as its source has it: `ns::Class::method(int)`; any other name as it is.
///
/// - Parameter parameters: with the types of parameters, which may be long.
public func demangled(_ symbol: String, parameters: Bool = true) -> String {
    guard symbol.hasPrefix("_Z"), symbol.utf8.count < 4096, let text = binutils_demangle(symbol, parameters ? 1 : 0)
    else {
        return symbol
    }
    defer { free(text) }
    return String(cString: text)
}
