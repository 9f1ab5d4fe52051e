// Where a node is made from its store.

import Core
import Membership
import Node
import Runtime
import Store

/// The pool is shared with the loop, which gives sent frames back to it.
func makeNode(_ role: NodeRole, _ contents: StoreContents, _ pool: PacketPool) throws(SystemError) -> Node {
  Node(contents: contents, pool: pool, seed: try Host.entropy(), startingAt: Process.now)
}
