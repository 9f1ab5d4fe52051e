import Testing

@testable import Store

@Suite struct SettingsTests {
  @Test(
    arguments: [
      ("keep-down=eth0,lan1.5", true), ("keep-down=", false), ("keep-down=eth0,", false), ("keep-down=a/b", false),
      ("keep-down=abcdefghijklmnop", false), ("interface=abcdefghijklmno", true), ("interface=..", false),
      ("wide-discovery=on", true), ("wide-discovery=yes", false), ("protect=off", true), ("protect", false),
      ("protected-rate=0", true), ("protected-rate=8000000", true), ("protected-rate=8000001", false),
      ("protected-rate=1M", false), ("alternates=0", true), ("alternates=7", true), ("alternates=8", false),
      ("alternates=-1", false), ("alternates=", false), ("alternates=three", false),
      ("risk-group=eth0=duct7", true), ("risk-group=eth0=duct7,lan1.5=A.b_c-9,eth1=duct7", true),
      ("risk-group=a=b=duct7", true), ("risk-group=eth0", false), ("risk-group=eth0=", false),
      ("risk-group==duct7", false), ("risk-group=eth0=ninebytes", false), ("risk-group=eth0=du/t", false),
      ("risk-group=eth0=a,eth0=b", false), ("risk-group=eth0=a,", false), ("risk-group=eth0=a@b", false),
      ("tunnel=192.0.2.1:7000,cost=5,198.51.100.1:1", true), ("tunnel=a.example:7000", false),
      ("tunnel=[2001:db8::1]:65535", true), ("tunnel=a.example", false),
      ("tunnel=:7", false), ("tunnel=a:0", false), ("tunnel=a:65536", false), ("tunnel=[zz]:7", false),
      ("tunnel-listen=7000", true), ("tunnel-listen=10.0.0.1:7000", true), ("tunnel-listen=x", false),
    ])
  func `A value is checked when it is set`(text: String, isGood: Bool) throws {
    var settings = Settings()
    if isGood {
      try settings.set(Array(text.utf8))
      #expect(settings.entries.count == 1)
    } else {
      #expect(throws: StoreError.self) { try settings.set(Array(text.utf8)) }
      #expect(settings.entries.isEmpty)
    }
  }

  @Test func `An unknown key is refused with the known ones`() {
    var settings = Settings()
    #expect(throws: StoreError.unknownSetting) { try settings.set(Array("colour=red".utf8)) }
    for key in SettingKey.allCases {
      #expect(StoreError.unknownSetting.description.contains(key.name), "\(key)")
    }
  }

  @Test func `Set replaces, unset removes, lists and switches are read`() throws {
    var settings = Settings()
    try settings.set(Array("keep-down=a".utf8))
    try settings.set(Array("keep-down=a,b".utf8))
    #expect(settings.list(.keepDown) == [Array("a".utf8), Array("b".utf8)])
    #expect(settings.isOn(.protect, default: true))
    try settings.set(Array("protect=off".utf8))
    #expect(!settings.isOn(.protect, default: true))
    let removed = [settings.unset(.keepDown), settings.unset(.keepDown)]
    #expect(removed == [true, false])
    #expect(settings.list(.keepDown).isEmpty)
  }

  @Test func `Numbers are read, and are not there before they are set`() throws {
    var settings = Settings()
    #expect(settings.protectedRate == nil && settings.alternates == nil)
    try settings.set(Array("protected-rate=250".utf8))
    try settings.set(Array("alternates=0".utf8))
    #expect(settings.protectedRate == 250 && settings.alternates == 0)
  }

  @Test func `A port's risk group is found by the port's name`() throws {
    var settings = Settings()
    #expect(settings.riskGroup(of: "eth0").isEmpty)
    try settings.set(Array("risk-group=eth0=duct7,eth10=b,x=y=c".utf8))
    for (port, group) in [("eth0", "duct7"), ("eth1", ""), ("eth10", "b"), ("x=y", "c"), ("x", "")] {
      #expect(settings.riskGroup(of: port) == Array(group.utf8), "\(port)")
    }
  }

  @Test func `A value longer than 255 bytes is refused`() {
    var settings = Settings()
    let long = "keep-down=" + String(repeating: "eth0,", count: 51) + "eth1"
    #expect(throws: StoreError.badSetting(.keepDown, .tooLong(haveBytes: 259, limit: 255))) {
      try settings.set(Array(long.utf8))
    }
  }
}
