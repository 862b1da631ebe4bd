// swift-tools-version: 6.2
import PackageDescription

// Every Swift target is held to the same bar.
let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]

func room(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")
let subprocess: Target.Dependency = .product(name: "Subprocess", package: "swift-subprocess")

let package = Package(
    name: "patchbuild",
    products: [
        .executable(name: "patchbuild", targets: ["patchbuild"]),
        .executable(name: "livepatch", targets: ["livepatch"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
    ],
    targets: [
        // What both tools share: the patch itself, and how a refusal is said.
        room("Diagnostics"),
        room("JSONCoding"),
        room("ElfFormat"),
        room("PatchFormat", ["ElfFormat", "Diagnostics", "JSONCoding", crypto]),
        room("Signatures", ["PatchFormat", "Diagnostics", crypto]),

        // ELF and DWARF; instructions for the tool, and as text for people.
        .target(name: "CElfutils", linkerSettings: [.linkedLibrary("elf"), .linkedLibrary("dw")]),
        room("ObjectFiles", ["CElfutils", "ElfFormat"]),
        .target(name: "CBinutils", linkerSettings: [.linkedLibrary("opcodes"), .linkedLibrary("bfd")]),
        room("Disassembly", ["CBinutils"]),
        .target(name: "CZydis", linkerSettings: [.linkedLibrary("Zydis")]),
        room("MachineCode", ["CZydis"]),

        // What a person wants to see before signing: in the bundle, and as a page.
        room("Reviewing", ["JSONCoding", "PatchFormat", "Diagnostics"]),
        room("Reporting", ["Reviewing", "PatchFormat", "ObjectFiles", "Disassembly", "SourceChanges", "Diagnostics"]),

        // patchbuild: from a diff to a bundle.
        room("Toolchain", ["Diagnostics", subprocess, system]),
        room("SourceChanges", ["Diagnostics"]),
        room("Documents", ["PatchFormat"]),
        room("BuildGraph", ["Toolchain", "PatchFormat", "JSONCoding", "Diagnostics"]),
        // The stages of a build, in their order: none looks at a later one.
        room("Recompiling", ["BuildGraph", "Toolchain", "SourceChanges", "PatchFormat", "Diagnostics"]),
        room("CodeModel", ["ElfFormat", "ObjectFiles", "MachineCode"]),
        room("Targets", ["ElfFormat", "ObjectFiles", "MachineCode", "Toolchain", "PatchFormat", "Diagnostics"]),
        room(
            "Comparing",
            ["Recompiling", "CodeModel", "ElfFormat", "ObjectFiles", "MachineCode", "SourceChanges", "Diagnostics"]),
        room(
            "Matching",
            [
                "Comparing", "Targets", "CodeModel", "ElfFormat", "ObjectFiles", "MachineCode", "Disassembly",
                "Toolchain",
                "PatchFormat", "Diagnostics",
            ]),
        room(
            "Closing",
            [
                "Matching", "Comparing", "Targets", "CodeModel", "ElfFormat", "ObjectFiles", "MachineCode",
                "PatchFormat",
                "Diagnostics",
            ]),
        room(
            "Guarding",
            [
                "Closing", "Matching", "Comparing", "Targets", "CodeModel", "Recompiling", "ElfFormat", "ObjectFiles",
                "MachineCode",
                "SourceChanges", "Toolchain", "PatchFormat", "Diagnostics",
            ]),
        room(
            "ModuleLinking",
            [
                "Closing", "Targets", "CodeModel", "ElfFormat", "ObjectFiles", "MachineCode", "Toolchain",
                "PatchFormat", "JSONCoding", "Diagnostics",
            ]),

        // What becomes of a bundle: show, sign, verify, hand over.
        room("Releasing", ["Toolchain", "Signatures", "ElfFormat", "PatchFormat", "Diagnostics"]),

        // The stages in one straight function, and what describes their outcome.
        room(
            "PatchBuilding",
            [
                "Recompiling", "CodeModel", "Targets", "Comparing", "Matching", "Closing", "Guarding", "ModuleLinking",
                "Releasing", "Reviewing", "Toolchain", "SourceChanges", "ElfFormat", "ObjectFiles", "MachineCode",
                "Disassembly",
                "PatchFormat", "Diagnostics",
            ]),
        room(
            "Reproducing",
            ["PatchBuilding", "Recompiling", "Guarding", "ObjectFiles", "Disassembly", "PatchFormat", "Diagnostics"]),
        // A package of the distribution in one call: its source, its build, its files, the fixes of a newer version.
        room(
            "Packaging",
            [
                "PatchBuilding", "Guarding", "Recompiling", "BuildGraph", "Targets", "ObjectFiles", "SourceChanges",
                "Toolchain", "PatchFormat", "Diagnostics",
            ]),
        .executableTarget(
            name: "patchbuild",
            dependencies: [
                "Packaging", "PatchBuilding", "Releasing", "Guarding", "Comparing", "Targets", "Recompiling",
                "Toolchain",
                "Reporting",
                "Reproducing", "Documents", "Signatures", "PatchFormat", "Diagnostics", argumentParser,
            ],
            swiftSettings: strict),

        // What debuggers and profilers read of a patched process.
        room("DebuggerFiles", ["ElfFormat", "Diagnostics"]),

        // livepatch: from a bundle to a patched process.
        .target(name: "CLinuxPtrace"),
        room("ProcessControl", ["CLinuxPtrace", "ElfFormat", "JSONCoding"]),
        room("ProcessImage", ["ProcessControl", "ElfFormat", "PatchFormat", "Diagnostics"]),
        room(
            "PatchRegistry",
            ["ProcessImage", "ProcessControl", "ElfFormat", "PatchFormat", "JSONCoding", "Diagnostics"]),
        room("ModuleBinding", ["ProcessImage", "ElfFormat", "PatchFormat", "Diagnostics"]),
        room(
            "PatchSwitching",
            ["PatchRegistry", "ProcessImage", "ProcessControl", "ElfFormat", "PatchFormat", "Diagnostics"]),
        room("TrustedHost", ["ProcessControl", "Signatures", "PatchFormat", "Diagnostics"]),
        room(
            "PatchApplying",
            [
                "PatchSwitching", "ModuleBinding", "PatchRegistry", "ProcessImage", "ProcessControl", "TrustedHost",
                "DebuggerFiles", "ElfFormat", "Signatures", "PatchFormat", "JSONCoding", "Diagnostics",
            ]),
        .executableTarget(
            name: "livepatch",
            dependencies: [
                "PatchApplying", "DebuggerFiles", "TrustedHost", "Signatures", "PatchFormat", "JSONCoding",
                "Diagnostics",
                argumentParser,
            ], swiftSettings: strict),

        // Tests: one target per room, and real processes in EndToEndTests.
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: strict),
        tests("JSONCodingTests", ["JSONCoding", "PatchFormat"]),
        tests("PatchFormatTests", ["PatchFormat", "ElfFormat"]),
        tests("SignaturesTests", ["Signatures", "PatchFormat", "TestSupport", crypto]),
        tests("DocumentsTests", ["Documents", "PatchFormat", "TestSupport"]),
        tests("ReproducingTests", ["Reproducing", "PatchFormat", "Diagnostics"]),
        tests("ElfFormatTests", ["ElfFormat", "ObjectFiles", "TestSupport"]),
        tests("ObjectFilesTests", ["ObjectFiles", "ElfFormat", "TestSupport"]),
        tests("MachineCodeTests", ["MachineCode", "Disassembly", "ObjectFiles", "TestSupport"]),
        tests("ProcessControlTests", ["ProcessControl", "TestSupport"]),
        tests("BuildGraphTests", ["BuildGraph", "Diagnostics", "TestSupport"]),
        tests("PackagingTests", ["Packaging", "PatchBuilding", "PatchFormat", "Diagnostics", "TestSupport"]),
        tests("ToolchainTests", ["Toolchain", "TestSupport"]),
        tests("SourceChangesTests", ["SourceChanges"]),
        tests("ReportingTests", ["Reporting", "Reviewing", "PatchFormat", "TestSupport"]),
        tests(
            "PatchBuildingTests",
            [
                "PatchBuilding", "Releasing", "ModuleLinking", "Guarding", "Closing", "Matching", "Comparing",
                "Targets",
                "CodeModel", "Recompiling", "ElfFormat", "TestSupport",
            ]),
        tests("ProcessImageTests", ["ProcessImage", "ElfFormat", "Diagnostics", "TestSupport"]),
        tests("DebuggerFilesTests", ["DebuggerFiles", "Diagnostics", "TestSupport"]),
        tests("PatchRegistryTests", ["PatchRegistry", "PatchFormat"]),
        tests("PatchSwitchingTests", ["PatchSwitching"]),
        tests("TrustedHostTests", ["TrustedHost", "ProcessControl", "Signatures", "PatchFormat", "TestSupport"]),
        tests(
            "PatchApplyingTests",
            [
                "PatchApplying", "PatchSwitching", "ModuleBinding", "PatchRegistry", "ProcessImage", "ProcessControl",
                "TrustedHost", "ElfFormat", "PatchFormat", "TestSupport",
            ]),
        tests(
            "EndToEndTests",
            ["TestSupport", "Guarding", "Diagnostics", "Signatures", "PatchFormat", "patchbuild", "livepatch"]),
    ]
)
