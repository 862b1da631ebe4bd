/// Takes the place, by the linker's `--wrap`, of the function by which Swift's runtime looks, before `main`, for the program
/// that would print a backtrace: there is none beside a static file. The runtime's own needs `/proc`, without which it
/// aborts even `--help`; and an environment variable could have a program of that name run with livepatch's rights.
@_cdecl("__wrap_swift_copyAuxiliaryExecutablePath")
public func noAuxiliaryExecutable(_ name: UnsafePointer<CChar>?) -> UnsafeMutablePointer<CChar>? { nil }
