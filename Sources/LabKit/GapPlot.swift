// A drawing of streams through failures: the time between arrivals over time, on a logarithmic scale, a strip a stream, the
// failures as marks, the limit as a line. Plain SVG 1.1.

import Foundation

public struct GapPlot: Sendable {
  /// One strip.
  public struct Strip: Sendable {
    public var title: String
    /// Seconds from the strip's beginning to its end.
    public var seconds: Double
    /// The longest gap, ms, in each of the strip's equal parts.
    public var gaps: [Double?]
    /// Seconds from the beginning.
    public var cuts: [Double]
    public var colour: String
    /// ms; nil: no line.
    public var limit: Double?

    public init(
      title: String, seconds: Double, gaps: [Double?], cuts: [Double], colour: String = "#c33", limit: Double?
    ) {
      (self.title, self.seconds, self.gaps, self.cuts) = (title, seconds, gaps, cuts)
      (self.colour, self.limit) = (colour, limit)
    }

    /// A stream of a run.
    public init(_ run: RepairRun, stream: Int, system: String = RepairFigures.ours) {
      let (name, record) = run.streams[stream]
      let begin = record.sent.first ?? 0
      let end = max(begin + 1, record.sent.last ?? 0)
      let isProtected = run.protection == .protected
      title = "\(system), \(run.network), \(run.protection.rawValue), \(name): \(run.kind.text)"
      seconds = Double(end - begin) / 1e9
      gaps = record.gaps(in: begin..<end, parts: GapPlot.parts)
      cuts = run.cuts.map { Double($0.done - begin) / 1e9 }
      colour = GapPlot.colour(of: run.kind)
      limit = isProtected || system != RepairFigures.ours ? nil : run.kind.gapLimit
    }
  }

  public static let parts = 900
  private static let left = 60.0
  private static let height = 90.0
  private static let strip = 130.0
  /// Milliseconds at the foot of a strip, and decades above it: 0.3 ms to 30 s.
  private static let foot = 0.3
  private static let decades = 5.0

  static func colour(of kind: RepairKind) -> String {
    switch kind {
    case .carrier: "#c33"
    case .silent: "#36c"
    case .oneWayOut: "#083"
    case .oneWayBack: "#690"
    case .large: "#939"
    case .killed: "#000"
    case .frozen: "#088"
    case .grey: "#777"
    }
  }

  public var title: String
  public var strips: [Strip]

  public init(title: String, strips: [Strip] = []) {
    self.title = title
    self.strips = strips
  }

  /// Pixels above a strip's foot.
  static func rise(_ milliseconds: Double) -> Double {
    let decades = log10(max(milliseconds, foot) / foot)
    return min(height, decades / Self.decades * height)
  }

  public var svg: String {
    let width = Self.left + Double(Self.parts) + 20
    let tall = 40 + Self.strip * Double(strips.count)
    var lines = [
      """
      <svg xmlns="http://www.w3.org/2000/svg" width="\(n(width))" height="\(n(tall))" viewBox="0 0 \(n(width)) \(n(tall))" \
      font-family="sans-serif" font-size="11">
      """,
      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>",
      "<text x=\"\(n(Self.left))\" y=\"20\" font-size=\"14\">\(escaped(title))</text>",
    ]
    for (number, strip) in strips.enumerated() { lines += draw(strip, top: 40 + Self.strip * Double(number)) }
    return lines.joined(separator: "\n") + "\n</svg>\n"
  }

  private func draw(_ strip: Strip, top: Double) -> [String] {
    let right = Self.left + Double(Self.parts)
    let foot = top + 15 + Self.height
    var lines = ["<text x=\"\(n(Self.left))\" y=\"\(n(top + 10))\">\(escaped(strip.title))</text>"]
    for milliseconds in [1.0, 10, 100, 1000, 10_000] {
      let y = foot - Self.rise(milliseconds)
      let name = milliseconds < 1000 ? "\(Int(milliseconds)) ms" : "\(Int(milliseconds / 1000)) s"
      lines.append(
        "<path d=\"M\(n(Self.left)) \(n(y))H\(n(right))\" stroke=\"#ddd\"/>"
          + "<text x=\"\(n(Self.left - 6))\" y=\"\(n(y + 4))\" text-anchor=\"end\" fill=\"#666\">\(name)</text>")
    }
    func x(_ seconds: Double) -> Double {
      Self.left + Double(Self.parts) * min(1, max(0, seconds / max(strip.seconds, 1e-9)))
    }
    let marks = strip.cuts.map { "M\(n(x($0))) \(n(foot))v6" }.joined()
    if !marks.isEmpty { lines.append("<path d=\"\(marks)\" stroke=\"\(strip.colour)\" stroke-width=\"1.5\"/>") }
    if let limit = strip.limit {
      let y = foot - Self.rise(limit)
      lines.append(
        "<path d=\"M\(n(Self.left)) \(n(y))H\(n(right))\" stroke=\"#c80\" stroke-dasharray=\"4 3\"/>"
          + "<text x=\"\(n(right))\" y=\"\(n(y - 3))\" text-anchor=\"end\" fill=\"#c80\">limit \(n(limit)) ms</text>")
    }
    let step = Double(Self.parts) / Double(max(1, strip.gaps.count))
    let bars = strip.gaps.enumerated().compactMap { part, gap in
      gap.map { "M\(n(Self.left + (Double(part) + 0.5) * step)) \(n(foot))v\(n(-Self.rise($0)))" }
    }
    if !bars.isEmpty { lines.append("<path d=\"\(bars.joined())\" stroke=\"\(strip.colour)\"/>") }
    lines.append("<path d=\"M\(n(Self.left)) \(n(foot))H\(n(right))\" stroke=\"#333\"/>")
    lines.append(
      "<text x=\"\(n(right))\" y=\"\(n(foot + 12))\" text-anchor=\"end\" fill=\"#666\">\(n(strip.seconds)) s</text>")
    return lines
  }

  private func n(_ value: Double) -> String {
    let text = String(format: "%.1f", value)
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }

  private func escaped(_ text: String) -> String {
    text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
      .replacingOccurrences(of: ">", with: "&gt;")
  }
}
