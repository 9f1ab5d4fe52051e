// The smallest web server that a browser understands, for machines without another: one page, one connection at a time.

import Foundation

/// Serves `page` on TCP port 80 of every address of a namespace until the process ends.
public func servePage(_ page: String, in namespace: String, ready: () -> Void = {}) throws {
  let listener = try inNetwork(of: namespace) {
    try Descriptor(socket(AF_INET6, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0), "socket")
  }
  var yes: Int32 = 1
  setsockopt(listener.number, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
  guard
    let any = IPAddress("::"), any.withSocketAddress(port: 80, { bind(listener.number, $0, $1) }) == 0,
    listen(listener.number, 16) == 0
  else { throw LabError.system(call: "listen on port 80", code: errno) }
  ready()
  let answer = Array(
    ("HTTP/1.0 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: \(page.utf8.count)\r\n"
      + "Connection: close\r\n\r\n" + page).utf8)
  while true {
    let connection = accept(listener.number, nil, nil)
    if connection < 0 {
      try checkInterrupt()
      continue
    }
    var request = [UInt8](repeating: 0, count: 4096)
    _ = recv(connection, &request, request.count, 0)
    _ = send(connection, answer, answer.count, Int32(MSG_NOSIGNAL))
    shutdown(connection, Int32(SHUT_WR))
    close(connection)
  }
}
