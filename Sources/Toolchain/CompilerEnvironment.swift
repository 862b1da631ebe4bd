/// Messages in English, and no cache between us and the compiler.
package let compilerEnvironment: [String: String?] = ["LC_ALL": "C", "CCACHE_DISABLE": "1", "DEPENDENCIES_OUTPUT": nil]
