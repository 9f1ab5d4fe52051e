// swift-tools-version: 6.2
// One package, two modes. With EMBEDDED in the environment it builds the shipped binary as Embedded Swift
// (whole-module, no runtime); without, the same sources as ordinary Swift, with the tests and the host tools.
import PackageDescription

let embedded = Context.environment["EMBEDDED"] != nil
let fuzzing = Context.environment["FUZZ"] != nil
// The object outliner (Swift 6.3.1) numbers a function's constant arrays anew in every module that emits the function;
// the linker keeps one copy of the code and may keep another copy's arrays, so that constants change places.
let embeddedFlags = ["-wmo", "-Xllvm", "-sil-disable-pass=object-outliner"]
// The simulator's pace: generic and small code of one module is used in others as in the Embedded build, where all is
// one image anyway. Debug builds, and the fuzzers, keep the checks of exclusive access.
let releaseFlags = ["-cross-module-optimization", "-enforce-exclusivity=unchecked"]
let settings: [SwiftSetting] =
  [.enableExperimentalFeature("Lifetimes")]
  + (embedded
    ? [.enableExperimentalFeature("Embedded"), .unsafeFlags(embeddedFlags)]
    : fuzzing ? [] : [.unsafeFlags(releaseFlags, .when(configuration: .release))])
// What the tests run, and run much of, is optimized in debug builds too; assertions stay.
let quick: [SwiftSetting] =
  settings + (embedded ? [] : [.unsafeFlags(["-O", "-assert-config", "Debug"], .when(configuration: .debug))])

func module(_ name: String, _ dependencies: [Target.Dependency], _ settings: [SwiftSetting] = quick) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

let ground: [Target] = [
  .target(
    name: "CSystem",
    cSettings: (Context.environment["LIFELINE_COMMIT"].map { [.define("LIFELINE_COMMIT", to: "\"\($0)\"")] } ?? [])
      + (embedded ? [.define("LIFELINE_MUSL")] : [])),
  .systemLibrary(name: "CSodium", path: "Sources/CSodium"),
  .systemLibrary(name: "CCap", path: "Sources/CCap"),
  module("Core", []),
  module("Wire", ["Core"]),
  module("Crypto", ["Core", "CSodium"]),
  module("Membership", ["Core", "Wire", "Crypto"], settings),
  module("Store", ["Core", "Wire", "Crypto", "Membership"], settings),
]

let engines: [Target] = [
  module("Neighbour", ["Core", "Wire", "Crypto", "Membership"]),
  module("Beacon", ["Core", "Wire", "Crypto", "Membership"]),
  module("Topology", ["Core", "Wire"]),
  module("Onion", ["Core", "Wire", "Crypto"]),
  module("Session", ["Core", "Wire", "Crypto", "Membership"]),
  module("Bearer", ["Core", "Wire"]),
]

let upper: [Target] = [
  module(
    "Node",
    [
      "Core", "Wire", "Crypto", "Membership", "Store", "Neighbour", "Beacon", "Topology", "Onion", "Session", "Bearer",
    ]),
  module("Runtime", ["Core", "Wire", "CSystem", "CCap"], settings),
  .executableTarget(
    name: "Lifeline",
    dependencies: [
      "Core", "Wire", "Crypto", "Membership", "Store", "Neighbour", "Beacon", "Topology", "Onion", "Session", "Node",
      "Runtime",
    ],
    swiftSettings: settings,
    linkerSettings: [.linkedLibrary("sodium"), .linkedLibrary("cap"), .linkedLibrary("m")]),
]

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(
    name: name, dependencies: dependencies, swiftSettings: settings,
    linkerSettings: [.linkedLibrary("sodium"), .linkedLibrary("cap")])
}

let everyEngine: [Target.Dependency] = [
  "Core", "Wire", "Crypto", "Membership", "Store", "Neighbour", "Beacon", "Topology", "Onion", "Session", "Bearer",
]

// Only in the ordinary mode: the host tools and the tests.
let host: [Target] = [
  .target(name: "CLab"),
  module("LabKit", ["CLab"], settings),
  .executableTarget(
    name: "Lab", dependencies: ["LabKit", "CLab", "Core", "Topology", "Simulator"], swiftSettings: settings,
    linkerSettings: [.linkedLibrary("sodium")]),
  .testTarget(name: "LabTests", dependencies: ["LabKit"], swiftSettings: settings),
  .testTarget(name: "SystemTests", dependencies: ["LabKit"], swiftSettings: settings),
  .target(
    name: "TestSupport", dependencies: ["Core", "Crypto"], path: "Tests/TestSupport", swiftSettings: settings),
  tests("CoreTests", ["Core"]),
  tests("WireTests", ["Core", "Wire"]),
  tests("CryptoTests", ["Core", "Crypto"]),
  tests("MembershipTests", ["Core", "Wire", "Crypto", "Membership"]),
  tests("StoreTests", ["Core", "Wire", "Crypto", "Membership", "Store"]),
  tests("BearerTests", ["Core", "Wire", "Bearer"]),
  tests("NeighbourTests", ["Core", "Wire", "Crypto", "Membership", "Neighbour"]),
  tests("BeaconTests", ["Core", "Wire", "Crypto", "Membership", "Beacon", "TestSupport"]),
  tests("TopologyTests", ["Core", "Wire", "Topology", "TestSupport"]),
  tests("OnionTests", ["Core", "Wire", "Crypto", "Onion", "TestSupport"]),
  tests("SessionTests", ["Core", "Wire", "Crypto", "Membership", "Session", "TestSupport"]),
  tests("RuntimeTests", ["Core", "Wire", "CLab", "Runtime"]),
  .target(name: "CSimulator", path: "Tests/CSimulator"),
  .target(
    name: "Simulator", dependencies: ["CSimulator", "Core", "Wire", "Crypto", "Membership", "Store", "Node"],
    path: "Tests/Simulator", swiftSettings: quick),
  tests("SimulationTests", ["Core", "Wire", "Bearer", "Onion", "Session", "Membership", "Store", "Node", "Simulator"]),
  module("InsiderKit", everyEngine + ["Node"], settings),
  .executableTarget(
    name: "Insider", dependencies: ["InsiderKit", "CLab", "Core", "Crypto", "Store"], swiftSettings: settings,
    linkerSettings: [.linkedLibrary("sodium")]),
  tests("FuzzTests", everyEngine + ["Node", "InsiderKit"]),
]

// Only with FUZZ in the environment (board/fuzz): it links with libFuzzer alone.
let fuzzers: [Target] = [
  .target(name: "CFuzz", path: "Tests/Fuzz/CFuzz"),
  .executableTarget(
    name: "Fuzz", dependencies: everyEngine + ["Node", "Runtime", "InsiderKit", "CFuzz"], path: "Tests/Fuzz/Fuzz",
    swiftSettings: settings, linkerSettings: [.linkedLibrary("sodium"), .linkedLibrary("cap")]),
]

let package = Package(
  name: "lifeline",
  products: [.executable(name: "Lifeline", targets: ["Lifeline"])],
  targets: ground + engines + upper + (embedded ? [] : host)
    + (fuzzing ? fuzzers : [])
)
