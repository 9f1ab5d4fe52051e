import LabKit

struct Bench {
  init(_ options: Options) throws {}
  func run() throws -> Int32 { throw LabError.usage("bench does not exist yet") }
}
func soak(_ options: Options) throws -> Int32 { throw LabError.usage("soak does not exist yet") }
func storm(_ options: Options) throws -> Int32 { throw LabError.usage("storm does not exist yet") }
