// The network as a drawing of characters: nodes in rows by their hops from the authority, links as lines between them.

public struct MapDrawing {
  private static let columnWidth = 12
  private static let rowHeight = 4
  private var cells: [[Character]]

  /// - Parameters:
  ///   - nodes: names with their hops from the authority, in the order of their appearance in a row.
  ///   - links: pairs of names; one whose node is not in `nodes` is left out.
  public static func draw(nodes: [(name: String, hops: Int)], links: Set<LinkEntry>) -> String {
    let depth = (nodes.map(\.hops).max() ?? 0) + 1
    let rows = (0..<depth).map { row in nodes.filter { $0.hops == row }.map(\.name) }
    let widest = rows.map(\.count).max() ?? 1
    var drawing = MapDrawing(
      cells: [[Character]](
        repeating: [Character](repeating: " ", count: widest * columnWidth + 8), count: (depth - 1) * rowHeight + 1))
    var places: [String: (x: Int, y: Int)] = [:]
    for (row, names) in rows.enumerated() {
      let indent = (widest - names.count) * columnWidth / 2
      for (column, name) in names.enumerated() {
        places[name] = (indent + column * columnWidth + columnWidth / 2, row * rowHeight)
      }
    }
    for link in links.sorted(by: { ($0.a, $0.b) < ($1.a, $1.b) }) {
      if let a = places[link.a], let b = places[link.b] { drawing.line(from: a, to: b) }
    }
    for (name, place) in places { drawing.label(name, at: place) }
    return drawing.cells.map { row in
      var line = String(row)
      while line.last == " " { line.removeLast() }
      return line
    }.joined(separator: "\n")
  }

  private init(cells: [[Character]]) { self.cells = cells }

  private mutating func line(from a: (x: Int, y: Int), to b: (x: Int, y: Int)) {
    let (top, bottom) = a.y <= b.y ? (a, b) : (b, a)
    if top.y == bottom.y {
      for x in min(top.x, bottom.x)...max(top.x, bottom.x) { cells[top.y][x] = "-" }
      return
    }
    for y in top.y...bottom.y {
      let x = top.x + (bottom.x - top.x) * (y - top.y) * 2 / (bottom.y - top.y) / 2
      let mark: Character = bottom.x == top.x ? "|" : bottom.x > top.x ? "\\" : "/"
      let there = cells[y][x]
      cells[y][x] = there == " " || there == mark ? mark : "X"
    }
  }

  private mutating func label(_ name: String, at place: (x: Int, y: Int)) {
    let text = "[\(name)]"
    var x = max(0, place.x - text.count / 2)
    for character in text where x < cells[place.y].count {
      cells[place.y][x] = character
      x += 1
    }
  }
}
