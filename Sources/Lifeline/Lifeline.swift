import Core

@main struct Lifeline {
  static func main() {}
}
