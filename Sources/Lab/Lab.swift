@main struct Lab {
  static func main() {}
}
