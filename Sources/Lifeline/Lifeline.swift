import Core
import Runtime

@main struct Lifeline {
  static func main() {
    let words = Host.arguments()
    if words.count > 1, words[1].elementsEqual("provision".utf8) {
      Host.exit(provisionMain(Array(words.dropFirst(2))))
    }
  }
}
