import Diagnostics
import FoundationEssentials

/// Writes a file whole or not at all: a full disk leaves no half of a bundle.
///
/// - Throws: `Failure` naming the file.
package func writeWhole(_ bytes: [UInt8], to path: String) throws {
    do { try Data(bytes).write(to: URL(filePath: path), options: .atomic) } catch {
        throw Failure("can't write \(path): \(error)")
    }
}

/// `path` seen from `directory`, absolute, without `.`, `..` and doubled slashes. Symbolic links stay.
package func normalized(_ path: String, in directory: String) -> String {
    var parts: [Substring] = []
    for part in (path.hasPrefix("/") ? path : directory + "/" + path).split(separator: "/") where part != "." {
        if part == ".." { parts = parts.dropLast() } else { parts.append(part) }
    }
    return "/" + parts.joined(separator: "/")
}

/// The last component of a path, without a slash at its end.
package func baseName(_ path: String) -> String {
    guard path.utf8.last != UInt8(ascii: "/") else { return path.split(separator: "/").last.map(String.init) ?? path }
    return path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[path.utf8.index(after: $0)...]) } ?? path
}
