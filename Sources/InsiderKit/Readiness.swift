// What a node that is played must have reached before forging makes sense.

import Core

@testable import Neighbour
@testable import Node

/// A session with the first authority, and a way to it.
public func isReady(_ node: borrowing Node) -> Bool { node.uplinks.first?.isReady ?? false }

/// A link to a neighbour.
public func hasLink(_ node: borrowing Node) -> Bool { node.neighbour.adjacencies.contains { $0.state == .up } }
