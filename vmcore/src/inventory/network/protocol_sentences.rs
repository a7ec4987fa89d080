//! What counters of protocols count, in the words of netstat(1): a sentence that begins with the number.
//!
//! Counters that netstat shows together with others, or whose sentence means something only below another one, are not here.
//!
//! Sources: `inet.c`, `inet6.c`, `ipsec.c` and `pfkey.c` in `usr.bin/netstat`.

/// Members of a structure, and what follows their numbers; `[one/many]` depends on whether the number is 1.
pub(super) type Sentences = &'static [(&'static str, &'static str)];

/// What follows a number, of a sentence.
pub(super) fn with_number(sentence: &str, number: u64) -> String {
    let inflected = sentence.split_once('[').and_then(|(before, rest)| {
        let (forms, behind) = rest.split_once(']')?;
        let (one, many) = forms.split_once('/')?;
        Some(format!("{before}{}{behind}", if number == 1 { one } else { many }))
    });
    inflected.unwrap_or_else(|| sentence.to_owned())
}

pub(super) const TCP: Sentences = &[
    ("tcps_sndtotal", "packet[/s] sent"),
    ("tcps_sndrexmitbad", "data packet[/s] unnecessarily retransmitted"),
    ("tcps_mturesent", "resend[/s] initiated by MTU discovery"),
    ("tcps_sndurg", "URG only packet[/s]"),
    ("tcps_sndprobe", "window probe packet[/s]"),
    ("tcps_sndwinup", "window update packet[/s]"),
    ("tcps_sndctrl", "control packet[/s]"),
    ("tcps_rcvtotal", "packet[/s] received"),
    ("tcps_rcvdupack", "duplicate ack[/s]"),
    ("tcps_tunneled_pkts", "UDP tunneled pkt[/s]"),
    ("tcps_tunneled_errs", "UDP tunneled pkt cnt with error[/s]"),
    ("tcps_rcvacktoomuch", "ack[/s] for data not yet sent"),
    ("tcps_rcvghostack", "ack[/s] for data never been sent (ghost acks)"),
    ("tcps_rcvacktooold", "ack[/s] for data being too old"),
    ("tcps_pawsdrop", "old duplicate packet[/s]"),
    ("tcps_rcvwinprobe", "window probe[/s]"),
    ("tcps_rcvwinupd", "window update packet[/s]"),
    ("tcps_dsack_count", "packet[/s] received with dsack"),
    ("tcps_dsack_bytes", "dsack byte[/s] received (no TLP involved)"),
    ("tcps_dsack_tlp_bytes", "dsack byte[/s] received (TLP responsible)"),
    ("tcps_rcvafterclose", "packet[/s] received after close"),
    ("tcps_rcvbadsum", "discarded for bad checksum[/s]"),
    ("tcps_rcvbadoff", "discarded for bad header offset field[/s]"),
    ("tcps_rcvshort", "discarded because packet too short"),
    ("tcps_rcvreassfull", "discarded due to full reassembly queue"),
    ("tcps_connattempt", "connection request[/s]"),
    ("tcps_accepts", "connection accept[/s]"),
    ("tcps_badsyn", "bad connection attempt[/s]"),
    ("tcps_listendrop", "listen queue overflow[/s]"),
    ("tcps_badrst", "ignored RSTs in the window[/s]"),
    ("tcps_connects", "connection[/s] established (including accepts)"),
    ("tcps_usedrtt", "time[/s] used RTT from hostcache"),
    ("tcps_usedrttvar", "time[/s] used RTT variance from hostcache"),
    ("tcps_usedssthresh", "time[/s] used slow-start threshold from hostcache"),
    ("tcps_cachedrtt", "connection[/s] updated cached RTT on close"),
    ("tcps_cachedrttvar", "connection[/s] updated cached RTT variance on close"),
    ("tcps_cachedssthresh", "connection[/s] updated cached ssthresh on close"),
    ("tcps_conndrops", "embryonic connection[/s] dropped"),
    ("tcps_rexmttimeo", "retransmit timeout[/s]"),
    ("tcps_timeoutdrop", "connection[/s] dropped by rexmit timeout"),
    ("tcps_persisttimeo", "persist timeout[/s]"),
    ("tcps_persistdrop", "connection[/s] dropped by persist timeout"),
    ("tcps_finwait2_drops", "Connection[/s] (fin_wait_2) dropped because of timeout"),
    ("tcps_keeptimeo", "keepalive timeout[/s]"),
    ("tcps_keepprobe", "keepalive probe[/s] sent"),
    ("tcps_keepdrops", "connection[/s] dropped by keepalive"),
    ("tcps_progdrops", "connection[/s] dropped due to exceeding progress time"),
    ("tcps_predack", "correct ACK header prediction[/s]"),
    ("tcps_preddat", "correct data packet header prediction[/s]"),
    ("tcps_sc_added", "syncache entr[y/ies] added"),
    ("tcps_sc_sendcookie", "cookie[/s] sent"),
    ("tcps_sc_recvcookie", "cookie[/s] received"),
    ("tcps_sc_spurcookie", "spurious cookie[/s] rejected"),
    ("tcps_sc_failcookie", "failed cookie[/s] rejected"),
    ("tcps_hc_added", "hostcache entr[y/ies] added"),
    ("tcps_sack_recovery_episode", "SACK recovery episode[/s]"),
    ("tcps_sack_rexmits", "segment rexmit[/s] in SACK recovery episodes"),
    ("tcps_sack_rexmits_tso", "tso chunk rexmit[/s] in SACK recovery episodes"),
    ("tcps_sack_rexmit_bytes", "byte rexmit[/s] in SACK recovery episodes"),
    ("tcps_sack_rcv_blocks", "SACK option[/s] (SACK blocks) received"),
    ("tcps_sack_send_blocks", "SACK option[/s] (SACK blocks) sent"),
    ("tcps_sack_lostrexmt", "SACK retransmission[/s] lost"),
    ("tcps_sack_sboverflow", "SACK scoreboard overflow"),
    ("tcps_ecn_rcvce", "packet[/s] received with ECN CE bit set"),
    ("tcps_ecn_rcvect0", "packet[/s] received with ECN ECT(0) bit set"),
    ("tcps_ecn_rcvect1", "packet[/s] received with ECN ECT(1) bit set"),
    ("tcps_ecn_sndect0", "packet[/s] sent with ECN ECT(0) bit set"),
    ("tcps_ecn_sndect1", "packet[/s] sent with ECN ECT(1) bit set"),
    ("tcps_ecn_shs", "successful ECN handshake[/s]"),
    ("tcps_ecn_rcwnd", "time[/s] ECN reduced the congestion window"),
    ("tcps_ace_nect", "ACE SYN packet[/s] with Non-ECT"),
    ("tcps_ace_ect0", "ACE SYN packet[/s] with ECT0"),
    ("tcps_ace_ect1", "ACE SYN packet[/s] with ECT1"),
    ("tcps_ace_ce", "ACE SYN packet[/s] with CE"),
    ("tcps_sig_rcvgoodsig", "packet[/s] with matching signature received"),
    ("tcps_sig_rcvbadsig", "packet[/s] with bad signature received"),
    ("tcps_sig_err_buildsig", "time[/s] failed to make signature due to no SA"),
    ("tcps_sig_err_sigopt", "time[/s] unexpected signature received"),
    ("tcps_sig_err_nosigopt", "time[/s] no signature provided by segment"),
    ("tcps_pmtud_blackhole_activated", "Path MTU discovery black hole detection activation[/s]"),
    ("tcps_pmtud_blackhole_activated_min_mss", "Path MTU discovery black hole detection min MSS activation[/s]"),
    ("tcps_pmtud_blackhole_failed", "Path MTU discovery black hole detection failure[/s]"),
    ("tcps_tw_responds", "time[/s] connection in TIME-WAIT responded with ACK"),
    ("tcps_tw_recycles", "time[/s] connection in TIME-WAIT was actively recycled"),
    ("tcps_tw_resets", "time[/s] connection in TIME-WAIT responded with RST"),
];

pub(super) const UDP: Sentences = &[
    ("udps_ipackets", "datagram[/s] received"),
    ("udps_hdrops", "with incomplete header"),
    ("udps_badlen", "with bad data length field"),
    ("udps_badsum", "with bad checksum"),
    ("udps_nosum", "with no checksum"),
    ("udps_noport", "dropped due to no socket"),
    ("udps_fullsock", "dropped due to full socket buffers"),
    ("udpps_pcbhashmiss", "not for hashed pcb"),
    ("udps_opackets", "datagram[/s] output"),
    ("udps_filtermcast", "time[/s] multicast source filter matched"),
];

pub(super) const DIVERT: Sentences = &[
    ("div_diverted", "packet[/s] successfully diverted to userland"),
    ("div_noport", "packet[/s] failed to divert due to no socket bound at port"),
    ("div_outbound", "packet[/s] successfully re-injected as outbound"),
    ("div_inbound", "packet[/s] successfully re-injected as inbound"),
];

pub(super) const IP: Sentences = &[
    ("ips_total", "total packet[/s] received"),
    ("ips_badsum", "bad header checksum[/s]"),
    ("ips_toosmall", "with size smaller than minimum"),
    ("ips_tooshort", "with data size < data length"),
    ("ips_toolong", "with ip length > max ip packet size"),
    ("ips_badhlen", "with header length < data size"),
    ("ips_badlen", "with data length < header length"),
    ("ips_badoptions", "with bad options"),
    ("ips_badvers", "with incorrect version number"),
    ("ips_fragments", "fragment[/s] received"),
    ("ips_fragdropped", "fragment[/s] dropped (dup or out of space)"),
    ("ips_fragtimeout", "fragment[/s] dropped after timeout"),
    ("ips_reassembled", "packet[/s] reassembled ok"),
    ("ips_delivered", "packet[/s] for this host"),
    ("ips_noproto", "packet[/s] for unknown/unsupported protocol"),
    ("ips_forward", "packet[/s] forwarded"),
    ("ips_cantforward", "packet[/s] not forwardable"),
    ("ips_notmember", "packet[/s] received for unknown multicast group"),
    ("ips_redirectsent", "redirect[/s] sent"),
    ("ips_localout", "packet[/s] sent from this host"),
    ("ips_rawout", "packet[/s] sent with fabricated ip header"),
    ("ips_odropped", "output packet[/s] dropped due to no bufs, etc."),
    ("ips_noroute", "output packet[/s] discarded due to no route"),
    ("ips_fragmented", "output datagram[/s] fragmented"),
    ("ips_ofragments", "fragment[/s] created"),
    ("ips_cantfrag", "datagram[/s] that can't be fragmented"),
    ("ips_nogif", "tunneling packet[/s] that can't find gif"),
    ("ips_badaddr", "datagram[/s] with bad address in header"),
];

pub(super) const ICMP: Sentences = &[
    ("icps_error", "call[/s] to icmp_error"),
    ("icps_oldicmp", "error[/s] not generated in response to an icmp message"),
    ("icps_badcode", "message[/s] with bad code fields"),
    ("icps_tooshort", "message[/s] less than the minimum length"),
    ("icps_checksum", "message[/s] with bad checksum"),
    ("icps_badlen", "message[/s] with bad length"),
    ("icps_bmcastecho", "multicast echo requests ignored"),
    ("icps_bmcasttstamp", "multicast timestamp requests ignored"),
    ("icps_reflect", "message response[/s] generated"),
    ("icps_badaddr", "invalid return address[/es]"),
    ("icps_noroute", "no return route[/s]"),
];

pub(super) const IGMP: Sentences = &[
    ("igps_rcv_total", "message[/s] received"),
    ("igps_rcv_tooshort", "message[/s] received with too few bytes"),
    ("igps_rcv_badttl", "message[/s] received with wrong TTL"),
    ("igps_rcv_badsum", "message[/s] received with bad checksum"),
    ("igps_rcv_v1v2_queries", "V1/V2 membership quer[y/ies] received"),
    ("igps_rcv_v3_queries", "V3 membership quer[y/ies] received"),
    ("igps_rcv_badqueries", "membership quer[y/ies] received with invalid field(s)"),
    ("igps_rcv_gen_queries", "general quer[y/ies] received"),
    ("igps_rcv_group_queries", "group quer[y/ies] received"),
    ("igps_rcv_gsr_queries", "group-source quer[y/ies] received"),
    ("igps_drop_gsr_queries", "group-source quer[y/ies] dropped"),
    ("igps_rcv_reports", "membership report[/s] received"),
    ("igps_rcv_badreports", "membership report[/s] received with invalid field(s)"),
    ("igps_rcv_ourreports", "membership report[/s] received for groups to which we belong"),
    ("igps_rcv_nora", "V3 report[/s] received without Router Alert"),
    ("igps_snd_reports", "membership report[/s] sent"),
];

pub(super) const ARP: Sentences = &[
    ("txrequests", "ARP request[/s] sent"),
    ("txerrors", "ARP request[/s] failed to sent"),
    ("txreplies", "ARP repl[y/ies] sent"),
    ("rxrequests", "ARP request[/s] received"),
    ("rxreplies", "ARP repl[y/ies] received"),
    ("received", "ARP packet[/s] received"),
    ("dropped", "total packet[/s] dropped due to no ARP entry"),
    ("timeouts", "ARP entry[/s] timed out"),
    ("dupips", "Duplicate IP[/s] seen"),
];

pub(super) const IPSEC: Sentences = &[
    ("ips_in_polvio", "inbound packet[/s] violated process security policy"),
    ("ips_in_nomem", "inbound packet[/s] failed due to insufficient memory"),
    ("ips_in_inval", "invalid inbound packet[/s]"),
    ("ips_out_polvio", "outbound packet[/s] violated process security policy"),
    ("ips_out_nosa", "outbound packet[/s] with no SA available"),
    ("ips_out_nomem", "outbound packet[/s] failed due to insufficient memory"),
    ("ips_out_noroute", "outbound packet[/s] with no route available"),
    ("ips_out_inval", "invalid outbound packet[/s]"),
    ("ips_out_bundlesa", "outbound packet[/s] with bundled SAs"),
    ("ips_spdcache_hits", "spd cache hit[/s]"),
    ("ips_spdcache_misses", "spd cache miss[/es]"),
    ("ips_clcopied", "cluster[/s] copied during clone"),
    ("ips_mbinserted", "mbuf[/s] inserted during makespace"),
];

pub(super) const AH: Sentences = &[
    ("ahs_hdrops", "packet[/s] shorter than header shows"),
    ("ahs_nopf", "packet[/s] dropped; protocol family not supported"),
    ("ahs_notdb", "packet[/s] dropped; no TDB"),
    ("ahs_badkcr", "packet[/s] dropped; bad KCR"),
    ("ahs_qfull", "packet[/s] dropped; queue full"),
    ("ahs_noxform", "packet[/s] dropped; no transform"),
    ("ahs_wrap", "replay counter wrap[/s]"),
    ("ahs_badauth", "packet[/s] dropped; bad authentication detected"),
    ("ahs_badauthl", "packet[/s] dropped; bad authentication length"),
    ("ahs_replay", "possible replay packet[/s] detected"),
    ("ahs_input", "packet[/s] in"),
    ("ahs_output", "packet[/s] out"),
    ("ahs_invalid", "packet[/s] dropped; invalid TDB"),
    ("ahs_ibytes", "byte[/s] in"),
    ("ahs_obytes", "byte[/s] out"),
    ("ahs_toobig", "packet[/s] dropped; larger than IP_MAXPACKET"),
    ("ahs_pdrops", "packet[/s] blocked due to policy"),
    ("ahs_crypto", "crypto processing failure[/s]"),
    ("ahs_tunnel", "tunnel sanity check failure[/s]"),
];

pub(super) const ESP: Sentences = &[
    ("esps_hdrops", "packet[/s] shorter than header shows"),
    ("esps_nopf", "packet[/s] dropped; protocol family not supported"),
    ("esps_notdb", "packet[/s] dropped; no TDB"),
    ("esps_badkcr", "packet[/s] dropped; bad KCR"),
    ("esps_qfull", "packet[/s] dropped; queue full"),
    ("esps_noxform", "packet[/s] dropped; no transform"),
    ("esps_badilen", "packet[/s] dropped; bad ilen"),
    ("esps_wrap", "replay counter wrap[/s]"),
    ("esps_badenc", "packet[/s] dropped; bad encryption detected"),
    ("esps_badauth", "packet[/s] dropped; bad authentication detected"),
    ("esps_replay", "possible replay packet[/s] detected"),
    ("esps_input", "packet[/s] in"),
    ("esps_output", "packet[/s] out"),
    ("esps_invalid", "packet[/s] dropped; invalid TDB"),
    ("esps_ibytes", "byte[/s] in"),
    ("esps_obytes", "byte[/s] out"),
    ("esps_toobig", "packet[/s] dropped; larger than IP_MAXPACKET"),
    ("esps_pdrops", "packet[/s] blocked due to policy"),
    ("esps_crypto", "crypto processing failure[/s]"),
    ("esps_tunnel", "tunnel sanity check failure[/s]"),
];

pub(super) const IPCOMP: Sentences = &[
    ("ipcomps_hdrops", "packet[/s] shorter than header shows"),
    ("ipcomps_nopf", "packet[/s] dropped; protocol family not supported"),
    ("ipcomps_notdb", "packet[/s] dropped; no TDB"),
    ("ipcomps_badkcr", "packet[/s] dropped; bad KCR"),
    ("ipcomps_qfull", "packet[/s] dropped; queue full"),
    ("ipcomps_noxform", "packet[/s] dropped; no transform"),
    ("ipcomps_wrap", "replay counter wrap[/s]"),
    ("ipcomps_input", "packet[/s] in"),
    ("ipcomps_output", "packet[/s] out"),
    ("ipcomps_invalid", "packet[/s] dropped; invalid TDB"),
    ("ipcomps_ibytes", "byte[/s] in"),
    ("ipcomps_obytes", "byte[/s] out"),
    ("ipcomps_toobig", "packet[/s] dropped; larger than IP_MAXPACKET"),
    ("ipcomps_pdrops", "packet[/s] blocked due to policy"),
    ("ipcomps_crypto", "crypto processing failure[/s]"),
    ("ipcomps_threshold", "packet[/s] sent uncompressed; size < compr. algo. threshold"),
    ("ipcomps_uncompr", "packet[/s] sent uncompressed; compression was useless"),
];

pub(super) const PIM: Sentences = &[
    ("pims_rcv_total_msgs", "message[/s] received"),
    ("pims_rcv_total_bytes", "byte[/s] received"),
    ("pims_rcv_tooshort", "message[/s] received with too few bytes"),
    ("pims_rcv_badsum", "message[/s] received with bad checksum"),
    ("pims_rcv_badversion", "message[/s] received with bad version"),
    ("pims_rcv_registers_msgs", "data register message[/s] received"),
    ("pims_rcv_registers_bytes", "data register byte[/s] received"),
    ("pims_rcv_registers_wrongiif", "data register message[/s] received on wrong iif"),
    ("pims_rcv_badregisters", "bad register[/s] received"),
    ("pims_snd_registers_msgs", "data register message[/s] sent"),
    ("pims_snd_registers_bytes", "data register byte[/s] sent"),
];

pub(super) const CARP: Sentences = &[
    ("carps_ipackets", "packet[/s] received (IPv4)"),
    ("carps_ipackets6", "packet[/s] received (IPv6)"),
    ("carps_badttl", "packet[/s] discarded for wrong TTL"),
    ("carps_hdrops", "packet[/s] shorter than header"),
    ("carps_badsum", "discarded for bad checksum[/s]"),
    ("carps_badver", "discarded packet[/s] with a bad version"),
    ("carps_badlen", "discarded because packet too short"),
    ("carps_badauth", "discarded for bad authentication"),
    ("carps_badvhid", "discarded for bad vhid"),
    ("carps_badaddrs", "discarded because of a bad address list"),
    ("carps_opackets", "packet[/s] sent (IPv4)"),
    ("carps_opackets6", "packet[/s] sent (IPv6)"),
    ("carps_onomem", "send failed due to mbuf memory error"),
];

pub(super) const IP6: Sentences = &[
    ("ip6s_total", "total packet[/s] received"),
    ("ip6s_toosmall", "with size smaller than minimum"),
    ("ip6s_tooshort", "with data size < data length"),
    ("ip6s_badoptions", "with bad options"),
    ("ip6s_badvers", "with incorrect version number"),
    ("ip6s_fragments", "fragment[/s] received"),
    ("ip6s_fragdropped", "fragment[/s] dropped (dup or out of space)"),
    ("ip6s_fragtimeout", "fragment[/s] dropped after timeout"),
    ("ip6s_fragoverflow", "fragment[/s] that exceeded limit"),
    ("ip6s_atomicfrags", "atomic fragment[/s]"),
    ("ip6s_reassembled", "packet[/s] reassembled ok"),
    ("ip6s_delivered", "packet[/s] for this host"),
    ("ip6s_forward", "packet[/s] forwarded"),
    ("ip6s_cantforward", "packet[/s] not forwardable"),
    ("ip6s_redirectsent", "redirect[/s] sent"),
    ("ip6s_localout", "packet[/s] sent from this host"),
    ("ip6s_rawout", "packet[/s] sent with fabricated ip header"),
    ("ip6s_odropped", "output packet[/s] dropped due to no bufs, etc."),
    ("ip6s_noroute", "output packet[/s] discarded due to no route"),
    ("ip6s_fragmented", "output datagram[/s] fragmented"),
    ("ip6s_ofragments", "fragment[/s] created"),
    ("ip6s_cantfrag", "datagram[/s] that can't be fragmented"),
    ("ip6s_badscope", "packet[/s] that violated scope rules"),
    ("ip6s_notmember", "multicast packet[/s] which we don't join"),
    ("ip6s_exthdrtoolong", "packet[/s] whose headers are not contiguous"),
    ("ip6s_nogif", "tunneling packet[/s] that can't find gif"),
    ("ip6s_toomanyhdr", "packet[/s] discarded because of too many headers"),
    ("ip6s_sources_none", "failure[/s] of source address selection"),
];

pub(super) const ICMP6: Sentences = &[
    ("icp6s_error", "call[/s] to icmp6_error"),
    ("icp6s_canterror", "error[/s] not generated in response to an icmp6 message"),
    ("icp6s_toofreq", "error[/s] not generated because of rate limitation"),
    ("icp6s_badcode", "message[/s] with bad code fields"),
    ("icp6s_tooshort", "message[/s] < minimum length"),
    ("icp6s_checksum", "bad checksum[/s]"),
    ("icp6s_badlen", "message[/s] with bad length"),
    ("icp6s_dropped", "total packet[/s] dropped due to failed NDP resolution"),
    ("icp6s_reflect", "message response[/s] generated"),
    ("icp6s_nd_toomanyopt", "message[/s] with too many ND options"),
    ("icp6s_nd_badopt", "message[/s] with bad ND options"),
    ("icp6s_badns", "bad neighbor solicitation message[/s]"),
    ("icp6s_badna", "bad neighbor advertisement message[/s]"),
    ("icp6s_badrs", "bad router solicitation message[/s]"),
    ("icp6s_badra", "bad router advertisement message[/s]"),
    ("icp6s_badredirect", "bad redirect message[/s]"),
    ("icp6s_overflowdefrtr", "default routers overflow[/s]"),
    ("icp6s_overflowprfx", "prefix overflow[/s]"),
    ("icp6s_overflownndp", "neighbour entries overflow[/s]"),
    ("icp6s_overflowredirect", "redirect overflow[/s]"),
    ("icp6s_invlhlim", "message[/s] with invalid hop limit"),
    ("icp6s_pmtuchg", "path MTU change[/s]"),
];

pub(super) const RIP6: Sentences = &[
    ("rip6s_ipackets", "message[/s] received"),
    ("rip6s_isum", "checksum calculation[/s] on inbound"),
    ("rip6s_badsum", "message[/s] with bad checksum"),
    ("rip6s_nosock", "message[/s] dropped due to no socket"),
    ("rip6s_nosockmcast", "multicast message[/s] dropped due to no socket"),
    ("rip6s_fullsock", "message[/s] dropped due to full socket buffers"),
    ("rip6s_opackets", "datagram[/s] output"),
];

pub(super) const PFKEY: Sentences = &[
    ("out_total", "request[/s] sent from userland"),
    ("out_bytes", "byte[/s] sent from userland"),
    ("out_invlen", "message[/s] with invalid length field"),
    ("out_invver", "message[/s] with invalid version field"),
    ("out_invmsgtype", "message[/s] with invalid message type field"),
    ("out_tooshort", "message[/s] too short"),
    ("out_nomem", "message[/s] with memory allocation failure"),
    ("out_dupext", "message[/s] with duplicate extension"),
    ("out_invexttype", "message[/s] with invalid extension type"),
    ("out_invsatype", "message[/s] with invalid sa type"),
    ("out_invaddr", "message[/s] with invalid address extension"),
    ("in_total", "request[/s] sent to userland"),
    ("in_bytes", "byte[/s] sent to userland"),
    ("in_msgtarget[KEY_SENDUP_ONE]", "message[/s] toward single socket"),
    ("in_msgtarget[KEY_SENDUP_ALL]", "message[/s] toward all sockets"),
    ("in_msgtarget[KEY_SENDUP_REGISTERED]", "message[/s] toward registered sockets"),
    ("in_nomem", "message[/s] with memory allocation failure"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_depend_on_the_number() {
        assert_eq!(with_number("packet[/s] sent", 1), "packet sent");
        assert_eq!(with_number("packet[/s] sent", 0), "packets sent");
        assert_eq!(with_number("hostcache entr[y/ies] added", 2), "hostcache entries added");
        assert_eq!(with_number("with bad checksum", 2), "with bad checksum");
    }
}
