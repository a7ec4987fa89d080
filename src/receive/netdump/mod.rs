//! netdump(4): how FreeBSD's kernels dump over the network after a panic (sys/netinet/netdump/netdump_client.c and
//! sys/net/debugnet.c of 15.1). UDP over IPv4; nothing is authenticated or encrypted, but for dumps that dumpon(8) has the
//! kernel encrypt.
//!
//! - [`packet`]: what a client sends;
//! - [`window`]: which packets are acknowledged, and when;
//! - [`session`]: what one client sends, stored, and whether it is whole.

pub mod packet;
pub mod session;
pub mod window;
