// Why the nonvolatile file, or a change to it, was refused, in the words an operator reads.

import Core
import Membership
import Wire

public enum StoreError: Error, Equatable, CustomStringConvertible {
  /// Nothing but zeros or ones: flash that was never written.
  case blank
  /// Neither copy is whole.
  case damaged
  /// Written by a newer version of the program.
  case unsupportedVersion(UInt8)
  /// The contents do not fit a copy.
  case tooLarge(neededBytes: Int, haveBytes: Int)
  case wire(WireError)
  case membership(MembershipError)
  /// Only an authority's store can do this.
  case notAnAuthority
  /// The store belongs to no network, or its network to no longer this authority.
  case noNetwork
  case noSuchMember(NodeName)
  /// Given up already, or revoked.
  case notActive(ComponentID)
  /// An authority leaves by a new descriptor, not by being forgotten.
  case memberIsAuthority(NodeName)
  case secretLimit(outstanding: Int, limit: Int)
  /// Has a certificate, or asks for one in another network.
  case alreadyEnrolled
  /// A certificate for another node than the one whose store it is.
  case notOurs
  /// A certificate older than the one in the store.
  case olderCertificate(UInt32, have: UInt32)
  /// Certified by another authority while the one that did it first is still there.
  case otherIssuer(UInt8, have: UInt8)
  /// A descriptor that does not follow the one in the store.
  case notASuccessor
  case unknownSetting
  case badSetting(SettingKey, SettingFault)
  /// A component's settings have a room of their own; `longest` is the key of the one that takes most of it.
  case settingsTooLarge(neededBytes: Int, haveBytes: Int, longest: [UInt8], longestBytes: Int)

  public var description: String {
    switch self {
    case .blank: "is blank"
    case .damaged: "is damaged: neither of its two copies is whole"
    case .unsupportedVersion(let version): "has format version \(Int(version)), which this lifeline does not know"
    case .tooLarge(let needed, let have): "is full: \(needed) bytes are needed, \(have) fit"
    case .wire(let error): MembershipError.wire(error).description
    case .membership(let error): error.description
    case .notAnAuthority: "is a component's store; this needs an authority's"
    case .noNetwork: "belongs to no network in which this node is an authority"
    case .noSuchMember(let name): "has no member named \(name.description)"
    case .notActive(let id): "ID \(id.description) is no member, or no longer"
    case .memberIsAuthority(let name): "\(name.description) is an authority, which only a new descriptor can remove"
    case .secretLimit(let outstanding, let limit):
      "has \(outstanding) unused enrolment secrets outstanding, the limit is \(limit)"
    case .alreadyEnrolled: "already belongs to a network"
    case .notOurs: "certificate is for another node"
    case .olderCertificate(let serial, let have): "certificate \(serial) is older than \(have), which is in the store"
    case .otherIssuer(let issuer, let have):
      "certificate is authority number \(Int(issuer))'s, and number \(Int(have)), which issued the one in the store, is still "
        + "an authority"
    case .notASuccessor: "descriptor does not follow the one in the store"
    case .unknownSetting: "no such setting; known are \(SettingKey.listing)"
    case .badSetting(let key, let fault): "\(key.name) \(fault.description)"
    case .settingsTooLarge(let needed, let have, let longest, let bytes):
      "has room for \(have) bytes of settings, and these would take \(needed), \(bytes) of them "
        + "\(String(decoding: longest, as: UTF8.self))"
    }
  }
}
