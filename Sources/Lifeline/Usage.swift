// The texts of --help.

enum Usage {
  static let lifeline = """
    lifeline keeps a secure management channel to network boxes over any physical path there is.

    usage: lifeline PROGRAM [options]        (ma, cm, ettm and verify also run by link name)
      ma          management authority: runs the network
      cm          component manager: runs on every other box
      ettm        end-host manager
      verify      verification server
      provision   make networks, keys, stores and members
      ctl         ask or tell a running node
    lifeline PROGRAM --help shows its options; lifeline --version, lifeline --self-test
    Exit: 0 done, 1 failed, 2 bad usage, 78 bad or missing store.
    """

  static let options = """
      --store FILE        the nonvolatile file            (default /etc/lifeline.nv)
      --run DIR           control socket, pid             (default /run/lifeline)
      --interface NAME    use this one; repeatable        (default: every Ethernet interface)
      --bearer NAME       name of the management device   (default mm0)
      --tunnel HOST:PORT[,cost=N]
                          a link to that address over UDP; repeatable, 16 at most; the last resort (cost 200)
                          unless the cost says otherwise
      --tunnel-listen PORT|ADDRESS:PORT[,cost=N]
                          take such links from others
      --log LEVEL         error, warning, notice, info, debug (default notice)
    Needs CAP_NET_ADMIN and CAP_NET_RAW. SIGTERM ends it and undoes what it made.
    Exit: 0 ended by a signal, 1 failed, 2 bad usage, 78 bad or missing store.
    """

  static let ma = "usage: lifeline ma [options]        run a management authority\n" + options
  static let cm = "usage: lifeline cm [options]        run a component manager\n" + options
  static let ettm = "usage: lifeline ettm [options]        run an end-host manager (not in this build)"
  static let verify = "usage: lifeline verify [options]        run a verification server (not in this build)"

  static let ctl = """
    usage: lifeline ctl [--run DIR] [--json] COMMAND
      status                      the node, its bearer, and whether it is ready
      nodes                       the members an authority knows
      links                       the network's links and what they cost; on a component its own
      neighbours                  this node's neighbours, strangers too
      routes [NODE]               ways to every node, or to one
      events [--follow]           the last events; with --follow also those to come
      accept DIR [--yes | --expect ID [--name NAME]] [--threshold K]
                                  list the sealed records and the proposal on the USB key DIR; take in all,
                                  or the one of this box, under this name; what was taken in is removed from
                                  the key; with a new authority the network needs K signatures (a majority)
      forget NODE                 give up a member that will not come back
      rekey [NODE]                new session keys with every member, or with one
      proposals                   successors of the network's descriptor that wait for signatures
      sign ID                     agree to one
      remove AUTHORITY [--threshold K]
                                  propose a network without this authority
      revoke NODE [--threshold K] propose to revoke a node for good, an authority too
      counters                    everything that is counted
    --run DIR   the run directory of the node (default /run/lifeline)
    --json      print the JSON document as it is
    Exit: 0 done, 1 failed (also: a record was refused, no answer in 5 s), 2 bad usage.
    """

  static let provision = """
    usage: lifeline provision COMMAND [--store FILE] [options]        (default /etc/lifeline.nv)
      network --domain NAME [--name NAME] [--prefix A.B.0.0/16]
                                  found a network; this node becomes its first authority
      key --usb DIR [--count N] [--withdraw]
                                  write the network and N enrolment secrets (16) to the key DIR;
                                  --withdraw first makes all unused secrets given out before worthless
      enroll --usb DIR [--name NAME] [--as component|authority]
                                  on a new box: make its identity and store, ask for membership; again on a
                                  new authority with the key that came back: take in what is there for it
      accept --usb DIR [--yes | --expect ID [--name NAME]] [--threshold K]
                                  list the records and the proposal on the key; take in all, or the one with
                                  this ID, under this name; what was taken in is removed from the key; with a
                                  new authority the network needs K signatures (default: a majority)
      descriptor --usb DIR [--remove NAME | --revoke NAME] [--threshold K]
                                  propose a network without an authority, with a node revoked, or with
                                  another threshold; on the key for other authorities to accept
      show [--json]               what is in the store, never a secret
      set KEY=VALUE ...           change settings: interface=PORTS, keep-down=PORTS (comma lists), protect=on|off,
                                  wide-discovery=on|off, protected-rate=KBITS (to each peer over two ways at
                                  once; 1000, 0 for none), alternates=0...7 (an authority's: routes to each
                                  component beside the best; 3), risk-group=PORT=GROUP,... (links that fail together),
                                  tunnel=HOST:PORT[,cost=N],... and tunnel-listen=PORT|ADDRESS:PORT[,cost=N]
      unset KEY ...               remove settings
      export [--passphrase-file FILE] FILE
      import [--passphrase-file FILE] FILE
                                  move an authority's store under a passphrase (a line of standard input)
    Exit: 0 done, 1 failed (also: a record was refused), 2 bad usage, 78 bad or missing store.
    """
}
